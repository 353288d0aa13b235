"""Units: feature maps of a network, each of which may stand for something that people have a word for.

After Network Dissection (Bau et al., arXiv 1704.05796): where a unit is more active than in nearly all places of a
data set, it has seen what it stands for. That part of an image is its mask; there is one for each of several levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import LEVELS
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import OtherwiseError

COARSEST, MOST_UNITS = 4, 512
"""Cells that a grid needs along each axis to say where something is, and units of a classifier that are read."""
INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class UnitError(OtherwiseError):
    """A network has no such layer, or a region cannot be asked about."""

    code = "unit"
    status = 422


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """The maps of all units for a batch of images.

    Attributes:
        layers: By layer ``(b, units, *grid)`` float32; grids differ from layer to layer.
    """

    layers: Mapping[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """Return a name for each unit, layer by layer, such as ``layer3/17``: the order of all figures of units."""
        return tuple(f"{layer}/{unit}" for layer, maps in self.layers.items() for unit in range(maps.shape[1]))

    def first(self) -> UnitMaps:
        """Return the maps of the first image alone."""
        return UnitMaps({layer: maps[:1] for layer, maps in self.layers.items()})

    def peaks(self) -> np.ndarray:
        """Return the strongest activation of each unit: ``(b, units)``."""
        return np.concatenate([maps.reshape(*maps.shape[:2], -1).max(2) for maps in self.layers.values()], axis=1)

    def within(self, region: np.ndarray) -> np.ndarray:
        """Return the mean activation of each unit in a region.

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

    def levels(self, thresholds: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Return how many thresholds each unit exceeds at each place of one image: the masks of all its levels at once.

        Args:
            thresholds: ``(levels, units)``, see ``UnitTable``.
            size: Grid of the image, onto which maps are interpolated.

        Returns:
            ``(units, *size)`` uint8; the mask of level ``n`` is where it is at least ``n``.

        Raises:
            ValueError: if these are the maps of several images.
        """
        found, start = [], 0
        for maps in self.layers.values():
            (one,) = maps
            limits = thresholds[:, start : start + len(one)].reshape(len(thresholds), -1, *[1] * len(size))
            start += len(one)
            full = functional.interpolate(
                torch.from_numpy(one)[None], tuple(size), mode=INTERPOLATION[len(size)], align_corners=False
            )
            found.append(np.count_nonzero(full.numpy() > limits, axis=0).astype(np.uint8))
        return np.concatenate(found)


class UnitReader(Protocol):
    """A source of units."""

    @property
    def version(self) -> str:
        """Return the content version of the network, and of the layers that are read."""
        ...

    def read(self, images: np.ndarray) -> UnitMaps:
        """Ask the units about ``(b, channels, *size)`` float32 in [0, 1]."""
        ...


@dataclass(frozen=True)
class EncoderUnits:
    """The units of an agent's encoder, which exist for every black box.

    Attributes:
        agent: Its encoder is read.
        layers: Which of its levels; the first is left out, as it sees edges only.
    """

    agent: Agent
    layers: tuple[str, ...] = LEVELS[1:]

    @property
    def version(self) -> str:
        """Return the content version, as ``UnitReader.version`` says."""
        return f"{self.agent.version}:{','.join(self.layers)}"

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> UnitMaps:
        """Ask the units, as ``UnitReader.read`` says."""
        pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.agent.device)
        levels = self.agent.model.encoder.levels(2 * pixels - 1)
        return UnitMaps({name: _array(levels[name]) for name in self.layers})


@dataclass(frozen=True)
class LayerUnits:
    """The units of some layers of a black box that lets itself be read.

    Attributes:
        classifier: Hosts a PyTorch module.
        layers: Names of some of its layers, see ``readable_layers``.

    Raises:
        UnitError: if the classifier cannot be read, or has no such layer.
    """

    classifier: BlackBox
    layers: tuple[str, ...]

    def __post_init__(self) -> None:
        found = readable_layers(self.classifier)
        if not found:
            raise UnitError(
                f"{self.classifier.name} cannot be looked into.", "Use the units of the agent, which always can."
            )
        for layer in self.layers:
            if layer not in found:
                raise UnitError(
                    f"{self.classifier.name} has no layer {layer[:64]!r}.", f"Choose of {', '.join(found)}."
                )

    @property
    def version(self) -> str:
        """Return the content version, as ``UnitReader.version`` says."""
        return f"{self.classifier.version}:{','.join(self.layers)}"

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> UnitMaps:
        """Ask the units, as ``UnitReader.read`` says."""
        kept = _outputs(self.classifier, self.layers, images)
        return UnitMaps({layer: _array(kept[layer]) for layer in self.layers})


AGENT = "agent"
"""Instead of a layer: the units of the agent's encoder."""


def unit_reader(classifier: BlackBox, agent: object, layer: str = "") -> UnitReader | None:
    """Return the reader of the units that are named.

    Args:
        classifier: The black box.
        agent: Its agent.
        layer: Of the classifier; empty: those that :func:`informative_layers` chooses or, if its layers cannot be read,
            the agent's encoder; ``AGENT``: the latter anyway.

    Returns:
        None where neither can be read.

    Raises:
        UnitError: if the classifier has no such layer.
    """
    layers = () if layer == AGENT else (layer,) if layer else informative_layers(classifier)
    if layers:
        return LayerUnits(classifier, layers)
    return EncoderUnits(agent) if isinstance(agent, Agent) else None


def readable_layers(classifier: BlackBox) -> tuple[str, ...]:
    """Return the names of a black box's convolutions in the order of declaration; none if it cannot be read."""
    module = getattr(classifier, "module", None)
    if not isinstance(module, nn.Module):
        return ()
    return tuple(name for name, part in module.named_modules() if isinstance(part, (nn.Conv2d, nn.Conv3d)))


def informative_layers(classifier: BlackBox) -> tuple[str, ...]:
    """Return the layers whose units show most: the last convolution of each grid size.

    The finest grid is left out, as it has edges only. A grid of fewer than ``COARSEST`` cells along an axis hardly says
    where a thing is. Convolutions of one cell that skip cells, as in shortcuts of residual blocks, see hardly anything.
    Coarser grids go before finer ones as long as there are not more than ``MOST_UNITS``.

    Returns:
        In the order they are declared; none if the layers cannot be read or show nothing.
    """
    layers, inputs = readable_layers(classifier), classifier.inputs
    if not layers:
        return ()
    with torch.inference_mode():
        made = _outputs(classifier, layers, np.zeros((1, inputs.channels, *inputs.size), np.float32))
    last: dict[tuple[int, ...], str] = {}
    for layer, output in made.items():  # in the order in which they are run
        if output.ndim == 2 + inputs.spatial_dims and not _is_shortcut(classifier, layer):
            last[tuple(output.shape[2:])] = layer
    grids = sorted(last, key=lambda grid: int(np.prod(grid)))
    usable = [grid for grid in grids[:-1] if min(grid) >= COARSEST] or grids[-1:]
    chosen: list[str] = []
    for layer in (last[grid] for grid in usable):
        if sum(made[other].shape[1] for other in (*chosen, layer)) <= MOST_UNITS:
            chosen.append(layer)
    return tuple(layer for layer in layers if layer in chosen)


def _is_shortcut(classifier: BlackBox, layer: str) -> bool:
    part = classifier.module.get_submodule(layer)  # type: ignore[attr-defined]
    return max(part.kernel_size) == 1 and max(part.stride) > 1


def _outputs(classifier: BlackBox, layers: Sequence[str], images: np.ndarray) -> dict[str, Tensor]:
    """Return what layers say of ``(b, channels, *size)`` images in [0, 1], in the order in which they are run."""
    module: nn.Module = classifier.module  # type: ignore[attr-defined]
    where = next(module.parameters(), torch.empty(0)).device
    kept: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda part, given, made: kept.__setitem__(layer, made)

    handles = [module.get_submodule(layer).register_forward_hook(keep(layer)) for layer in layers]
    try:
        module(torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(where))
    finally:
        for handle in handles:
            handle.remove()
    return kept


def _array(maps: Tensor) -> np.ndarray:
    return np.ascontiguousarray(maps.float().cpu().numpy())
