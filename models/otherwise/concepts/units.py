"""Units: feature maps of a network, each of which may stand for something that people have a word for.

After Network Dissection (Bau et al., arXiv 1704.05796): where a unit is more active than in 99 % of all places of a
data set, it has seen what it stands for. That part of an image is its mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import LEVELS
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import OtherwiseError

INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class UnitError(OtherwiseError):
    """A network has no such layer, or a region cannot be asked about."""

    code = "unit"
    status = 422


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """What every unit says of a batch of images.

    Attributes:
        layers: By layer ``(b, units, *grid)`` float32; grids differ from layer to layer.
    """

    layers: Mapping[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each unit, layer by layer, such as ``layer3/17``; all figures of units are in this order."""
        return tuple(f"{layer}/{unit}" for layer, maps in self.layers.items() for unit in range(maps.shape[1]))

    def first(self) -> UnitMaps:
        """Those of the first image alone."""
        return UnitMaps({layer: maps[:1] for layer, maps in self.layers.items()})

    def peaks(self) -> np.ndarray:
        """The strongest activation of each unit: ``(b, units)``."""
        return np.concatenate([maps.reshape(*maps.shape[:2], -1).max(2) for maps in self.layers.values()], axis=1)

    def within(self, region: np.ndarray) -> np.ndarray:
        """Mean activation of each unit in a region.

        Args:
            region: bool ``size`` on the grid of the images.

        Returns:
            ``(b, units)``. Where a unit's grid is too coarse for the region, each of its cells counts by the share of
            the region that lies in it.
        """
        share = torch.from_numpy(np.ascontiguousarray(region, dtype=np.float32))[None, None]
        pooled = nn.AdaptiveAvgPool2d if region.ndim == 2 else nn.AdaptiveAvgPool3d
        means = []
        for maps in self.layers.values():
            weights = pooled(maps.shape[2:])(share)[0, 0].numpy()
            flat = maps.reshape(*maps.shape[:2], -1)
            means.append(flat @ (weights / weights.sum()).ravel())
        return np.concatenate(means, axis=1)

    def above(self, thresholds: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """The masks of all units on one image: bool ``(units, *size)``.

        Args:
            thresholds: ``(units,)``.
            size: Grid of the image, onto which maps are interpolated.

        Raises:
            ValueError: if these are the maps of several images.
        """
        masks, start = [], 0
        for maps in self.layers.values():
            (one,) = maps
            limits = thresholds[start : start + len(one)].reshape(-1, *[1] * len(size))
            start += len(one)
            full = functional.interpolate(
                torch.from_numpy(one)[None], tuple(size), mode=INTERPOLATION[len(size)], align_corners=False
            )
            masks.append(full[0].numpy() > limits)
        return np.concatenate(masks)


class UnitReader(Protocol):
    """Whatever units can be read from."""

    @property
    def version(self) -> str:
        """Content version of the network, and of the layers that are read."""
        ...

    def read(self, images: np.ndarray) -> UnitMaps:
        """Ask the units about ``(b, channels, *size)`` float32 in [0, 1]."""
        ...


@dataclass(frozen=True)
class EncoderUnits:
    """The units of an agent's encoder; they are there whatever the black box is.

    Attributes:
        agent: Its encoder is read.
        layers: Which of its levels; the first is left out, as it sees edges only.
    """

    agent: Agent
    layers: tuple[str, ...] = LEVELS[1:]

    @property
    def version(self) -> str:
        """See ``UnitReader``."""
        return f"{self.agent.version}:{','.join(self.layers)}"

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> UnitMaps:
        """See ``UnitReader``."""
        pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.agent.device)
        levels = self.agent.model.encoder.levels(2 * pixels - 1)
        return UnitMaps({name: _array(levels[name]) for name in self.layers})


@dataclass(frozen=True)
class LayerUnits:
    """The units of one layer of a black box that lets itself be read.

    Attributes:
        classifier: Hosts a PyTorch module.
        layer: Name of one of its layers, see ``readable_layers``.

    Raises:
        UnitError: if the classifier cannot be read, or has no such layer.
    """

    classifier: BlackBox
    layer: str

    def __post_init__(self) -> None:
        found = readable_layers(self.classifier)
        if not found:
            raise UnitError(
                f"{self.classifier.name} cannot be looked into.", "Use the units of the agent, which always can."
            )
        if self.layer not in found:
            raise UnitError(
                f"{self.classifier.name} has no layer {self.layer[:64]!r}.", f"Choose of {', '.join(found)}."
            )

    @property
    def version(self) -> str:
        """See ``UnitReader``."""
        return f"{self.classifier.version}:{self.layer}"

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> UnitMaps:
        """See ``UnitReader``."""
        module: nn.Module = self.classifier.module  # type: ignore[attr-defined]
        where = next(module.parameters(), torch.empty(0)).device
        kept: list[Tensor] = []
        handle = module.get_submodule(self.layer).register_forward_hook(lambda part, given, made: kept.append(made))
        try:
            module(torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(where))
        finally:
            handle.remove()
        return UnitMaps({self.layer: _array(kept[-1])})


def readable_layers(classifier: BlackBox) -> tuple[str, ...]:
    """Names of a black box's convolutions, in the order they are declared; none where it cannot be looked into."""
    module = getattr(classifier, "module", None)
    if not isinstance(module, nn.Module):
        return ()
    return tuple(name for name, part in module.named_modules() if isinstance(part, (nn.Conv2d, nn.Conv3d)))


def _array(maps: Tensor) -> np.ndarray:
    return np.ascontiguousarray(maps.float().cpu().numpy())
