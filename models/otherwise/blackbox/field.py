"""The field of view of a classifier with a spacing, and how far it can be moved within an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import Centre, grid_of
from otherwise.images.image import Geometry


def reach(geometry: Geometry, inputs: InputSpec) -> np.ndarray:
    """Return how far the field can be moved from the middle of an image before it leaves the image.

    Args:
        geometry: Grid of the image; one slice for a 2-D classifier.
        inputs: What the classifier wants.

    Returns:
        ``(3,)`` voxels of the image along i, j and k; 0 where the image is no larger than the field, across the slices
        of a 2-D classifier, and where the field is all of an image (no spacing, or a pipeline of the classifier's own).

    Raises:
        ImageError: if the image does not suit the classifier, see ``images.resampling.model_grid``.
    """
    if inputs.spacing is None or inputs.pipeline is not None:
        return np.zeros(3)
    grid = grid_of(geometry, inputs)
    steps = np.abs(np.linalg.solve(geometry.affine[:3, :3], grid.affine[:3, :3]))
    free = np.maximum(0.0, (np.array(geometry.shape) - steps @ np.array(grid.shape)) / 2)
    return np.asarray(np.where(np.arange(3) < inputs.spatial_dims, free, 0.0))


def moved_centre(geometry: Geometry, inputs: InputSpec, share: ArrayLike) -> Centre:
    """Return the centre of a field that is moved from the middle of an image.

    Args:
        geometry: See ``reach``.
        inputs: See ``reach``.
        share: ``(3,)`` in [-1, 1]: shares of the reach along i, j and k. At -1 and 1 the field ends with the image.

    Returns:
        RAS millimetres.

    Raises:
        ImageError: see ``reach``.
    """
    index = (np.array(geometry.shape) - 1) / 2 + reach(geometry, inputs) * np.asarray(share)
    i, j, k = geometry.to_ras(index)
    return float(i), float(j), float(k)
