"""A black box that measures a disc, and images with one: the true deformation is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.protocol import InputSpec

BRIGHT = 0.8


@dataclass(frozen=True)
class DiscClassifier:
    """A classifier that says "large" by the area or volume of what is bright."""

    inputs: InputSpec
    limit: float
    name: str = "disc"
    version: str = "2" * 64
    classes: tuple[str, ...] = ("small", "large")
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        area = images.reshape(len(images), -1).sum(axis=1).astype(np.float64) / BRIGHT
        large = 1 / (1 + np.exp(-20 * (area / self.limit - 1)))
        return np.stack([1 - large, large], axis=1)


def disc(size: tuple[int, ...], radius: float) -> np.ndarray:
    """Return an image ``(1, *size)`` of a disc or ball in the middle, with a soft edge."""
    places = np.stack(np.meshgrid(*[np.arange(edge) - (edge - 1) / 2 for edge in size], indexing="ij"))
    distance = np.sqrt(np.square(places).sum(axis=0))
    return (BRIGHT * np.clip(radius - distance + 0.5, 0, 1)).astype(np.float32)[None]
