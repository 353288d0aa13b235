"""Show an image to a classifier that is described by a few numbers."""

from __future__ import annotations

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.images.image import Image


def to_model(
    image: Image,
    size: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    intensity: tuple[float, float],
    slice_index: int | None = None,
    channels: int | None = None,
    centre: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Return what the classifier sees: ``(channels, *size)`` float32 in [0, 1]."""
    inputs = InputSpec(size, channels or image.array.shape[0], spacing, intensity)
    return show(image, inputs, slice_index, centre)
