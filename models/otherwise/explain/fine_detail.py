"""Fine detail of the original where an edit changes much: what stands out fades, so that no ghost of it is left.

An edit is made on the classifier's grid, and the original keeps what is finer than that grid. Where a bright outline
went or moved, its fine part would stay in its former place, unseen by the classifier. Such detail is cut down to the
image's usual grain there.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import change_to_native

FADES = (0.05, 0.15)
"""Absolute changes, as a share of the classifier's window, from which on detail begins to fade, and has faded."""
GRAIN = 0.5
"""Detail of at most so many times the median stays: an outline fades, and a part of the grain does not."""
REACH = 3
"""Detail fades within a neighbourhood of so many voxels of the classifier's grid of such a change."""

Corner = tuple[int, int, int]


def fade_weights(array: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """Return how far fine detail fades: 0 where all of it stays, 1 where only grain does, ``size`` float32.

    Args:
        array: What the classifier sees of the original, ``(channels, *size)`` in [0, 1].
        edited: The edit, likewise.
    """
    low, high = FADES
    change = ndimage.maximum_filter(np.abs(edited - array).max(axis=0), REACH)
    wanted = ((change - low) / (high - low)).clip(0, 1)
    return np.asarray(ndimage.gaussian_filter(wanted, 1.0) * (wanted > 0), np.float32)


def faded_detail(
    image: Image, grid: Geometry, shown: np.ndarray, weights: np.ndarray, window: tuple[float, float]
) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """Return the fine detail that an edit takes from an image, and where.

    Args:
        image: On its own grid, finer than the classifier's.
        grid: The classifier's.
        shown: The original as it is carried back from there, ``(channels, *size)`` in [0, 1].
        weights: See ``fade_weights``.
        window: Values of the image that are 0 and 1 to the classifier.

    Returns:
        Slices along i, j and k, and ``(channels, i, j, k)`` float32 to subtract there, in the image's units. None where
        nothing fades, or the classifier does not see each channel by itself.
    """
    channels = image.array.shape[0]
    if not weights.any() or channels not in (1, shown.shape[0]):
        return None
    low, high = window
    box = _box_around(weights > 0, grid, image.geometry)
    part = image.crop(*box)
    share = change_to_native(weights[None], grid, part.with_array(part.array[:1]), (0.0, 1.0))
    if not share.any():  # the change lies beyond the image, in a grid that is larger
        return None
    coarse = change_to_native(shown, grid, part, window) + low
    places = tuple(slice(first, last) for first, last in zip(*box, strict=True))
    detail = part.array.astype(np.float32).clip(low, high) - coarse
    usual = GRAIN * float(np.median(np.abs(detail[:, share[0] > 0])))
    return places, share * (detail - detail.clip(-usual, usual))


def _box_around(mask: np.ndarray, grid: Geometry, geometry: Geometry) -> tuple[Corner, Corner]:
    """Return the first and the last voxel (exclusive) of the image that a mask on the grid touches."""
    flat = mask[..., None] if mask.ndim == 2 else mask
    places = np.argwhere(flat)
    ends = np.stack([places.min(axis=0) - 1, places.max(axis=0) + 1])
    corners = np.array([[*(ends[n, axis] for axis, n in enumerate(which)), 1] for which in np.ndindex(2, 2, 2)])
    on_image = (np.linalg.inv(geometry.affine) @ grid.affine @ corners.T)[:3]
    first = np.floor(on_image.min(axis=1)).clip(0, np.array(geometry.shape) - 1).astype(int)
    last = np.minimum(np.ceil(on_image.max(axis=1)) + 1, geometry.shape).astype(int)
    return _corner(first), _corner(np.maximum(last, first + 1))


def _corner(values: np.ndarray) -> Corner:
    i, j, k = values.tolist()
    return i, j, k
