"""The field of view of a classifier with a spacing, and how far it can be moved within an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import Centre, grid_of
from otherwise.images.image import Geometry


def is_movable(inputs: InputSpec) -> bool:
    """Return whether the field is a part of an image: it has a spacing, and no pipeline of the classifier decides."""
    return inputs.spacing is not None and inputs.pipeline is None


def reach(geometry: Geometry, inputs: InputSpec) -> np.ndarray:
    """Return how far the field can be moved from the middle of an image before it leaves the image.

    Args:
        geometry: Grid of the image; one slice for a 2-D classifier.
        inputs: What the classifier wants.

    Returns:
        ``(3,)`` voxels of the image along i, j and k; 0 where the image is no larger than the field, across the slices
        of a 2-D classifier, and where the field is not movable.

    Raises:
        ImageError: if the image does not suit the classifier, see ``images.resampling.model_grid``.
    """
    if not is_movable(inputs):
        return np.zeros(3)
    grid = grid_of(geometry, inputs)
    steps = np.abs(np.linalg.solve(geometry.affine[:3, :3], grid.affine[:3, :3]))
    free = np.maximum(0.0, (np.array(geometry.shape) - steps @ np.array(grid.shape)) / 2)
    return np.asarray(np.where(np.arange(3) < inputs.spatial_dims, free, 0.0))


def moved_centre(geometry: Geometry, moved: ArrayLike) -> Centre:
    """Return the centre of a field of view that is moved away from the middle of an image.

    Args:
        geometry: Grid of the image.
        moved: ``(3,)`` voxels of the image along i, j and k. By as much as ``reach`` the field ends with the image.

    Returns:
        RAS millimetres.
    """
    i, j, k = geometry.to_ras((np.array(geometry.shape) - 1) / 2 + np.asarray(moved))
    return float(i), float(j), float(k)
