"""A black box that looks at one bright square, and images that have one: simple enough to know the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.code import Code
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.blackbox.protocol import InputSpec


@dataclass(frozen=True)
class SquareClassifier:
    """Says "bright" by the mean of the central square: simple enough to know the truth."""

    inputs: InputSpec
    name: str = "square"
    version: str = "1" * 64
    classes: tuple[str, ...] = ("dark", "bright")
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        centre = tuple(slice(edge // 4, edge - edge // 4) for edge in self.inputs.size)
        mean = images[(slice(None), 0, *centre)].reshape(len(images), -1).mean(axis=1).astype(np.float64)
        bright = 1 / (1 + np.exp(-20 * (mean - 0.5)))
        return np.stack([1 - bright, bright], axis=1)


def squares(size: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = 0.1 * rng.random((count, 1, *size), dtype=np.float32)
    centre = tuple(slice(edge // 4, edge - edge // 4) for edge in size)
    for image in images:
        image[(0, *centre)] += np.float32(rng.uniform(0.2, 0.7))
    return images.clip(0, 1)


def architecture(size: tuple[int, ...]) -> Architecture:
    return Architecture(len(size), size, latent=8, channels=(16, 16), encoder_channels=(8, 16))


def eager_agent(classifier: SquareClassifier) -> Agent:
    """An agent whose decoder brightens or darkens the whole image with the latent's way across the boundary."""
    torch.manual_seed(0)
    model = DiffusionAutoencoder(architecture(classifier.inputs.size)).eval().requires_grad_(False)

    def velocity(noised: torch.Tensor, time: torch.Tensor, code: Code) -> torch.Tensor:
        level = model.classify(code.latent).diff(dim=1)
        return -level.reshape(-1, *([1] * (noised.ndim - 1))).expand_as(noised) * 0.3

    model.velocity = velocity  # type: ignore[method-assign]
    return Agent(model, "eager", "2" * 64, classifier.version, torch.device("cpu"))
