"""Parts of a change: the choice of voxels, and the image with these alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def soft(mask: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Blur the border of a bool mask ``size`` outwards, so that a composite has no seam; 1 inside, falling to 0."""
    return np.maximum(mask, ndimage.gaussian_filter(mask.astype(np.float32), width) * 2).clip(0, 1)


def composite(image: np.ndarray, counterfactual: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the image with the masked part of the change. ``mask`` is ``size`` in [0, 1]."""
    return np.asarray(image + mask[None] * (counterfactual - image), dtype=np.float32)


def ranks(values: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Place of each voxel in the order of ``values``, the greatest first: 0, 1, ...

    Args:
        values: ``size``.
        ties: ``size``: ranks voxels of equal value.
    """
    order = np.lexsort((ties.ravel(), values.ravel()))[::-1]
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return rank.reshape(values.shape)
