"""A control of maps: how near each voxel is to the centre of the image."""

from __future__ import annotations

import numpy as np

from otherwise.blackbox.protocol import BlackBox


def nearness_to_centre(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Return a map ``size`` that asks nobody: larger towards the centre. What it scores, the framing gives away."""
    axes = [np.linspace(-1, 1, edge) for edge in image.shape[1:]]
    squares = [np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")]
    return np.asarray(-np.sqrt(np.sum(squares, axis=0)), dtype=np.float32)
