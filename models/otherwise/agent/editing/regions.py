"""Regions that an edit may be held to, and whether what is kept of it looks cut out.

A region can end in the middle of a thing that the edit changes: half of a mass becomes lung, and a border appears that
neither the image nor the edit has. Regions of the strongest effect are small and may do so. Connected parts of the
change end where the change ends. A region that covers most of a thing and leaves its end is not used either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from otherwise.influence.parts import ranks, soft

SEAM_SHARE = 1 / 256
"""Share of the voxels, those of the greatest new gradient, whose mean is the seam."""
STRONG = 0.3
"""Absolute change in [0, 1] above which a voxel is strong: a stroke, or a mass in lung, appears or vanishes."""
MOST, ALL = 0.75, 0.9
"""Shares of a connected strong change: a region that covers more than ``MOST`` of it has to cover at least ``ALL``."""
CHANGE_BORDER = 1.5
"""Standard deviation in voxels of the soft border of connected parts of the change."""


def regions_of_effect(
    effect: np.ndarray, change: np.ndarray, shares: Sequence[float], border: float
) -> list[np.ndarray]:
    """Return the voxels of the strongest effect, a region for each share.

    Args:
        effect: ``size``: how much each voxel's change moves the black box.
        change: ``size``: absolute change, which ranks voxels of equal effect.
        shares: Shares of the voxels, ascending.
        border: Standard deviation in voxels of the soft border.

    Returns:
        Masks ``size`` float32 in [0, 1].
    """
    rank = ranks(effect, ties=change)
    return [soft(rank < share * rank.size, border) for share in shares]


def regions_of_change(
    effect: np.ndarray, change: np.ndarray, levels: Sequence[float], shares: Sequence[float]
) -> list[np.ndarray]:
    """Return the connected parts of the change that touch the voxels of the strongest effect.

    Args:
        effect: See ``regions_of_effect``.
        change: Likewise; it is smoothed by one voxel.
        levels: A part is connected where the change is above the level.
        shares: Shares of the voxels that have to be touched.

    Returns:
        Masks ``size`` float32 in [0, 1], one for each level and share at which anything is touched.
    """
    rank, smooth = ranks(effect, ties=change), ndimage.gaussian_filter(change, 1.0)
    found = []
    for level in levels:
        parts, _ = ndimage.label(smooth > level)
        for share in shares:
            touched = np.unique(parts[rank < share * rank.size])
            if touched.any():
                found.append(soft(np.isin(parts, touched[touched > 0]), CHANGE_BORDER))
    return found


def strong_parts(change: np.ndarray) -> np.ndarray:
    """Label the connected components of the strong voxels.

    A voxel is strong if it changes by more than ``STRONG``. Voxels that touch at a corner are connected.

    Args:
        change: ``size``: absolute change.

    Returns:
        ``size`` integers: the number of the part, 0 where the change is not strong.
    """
    parts, _ = ndimage.label(change > STRONG, ndimage.generate_binary_structure(change.ndim, change.ndim))
    return np.asarray(parts)


def cuts_through(region: np.ndarray, parts: np.ndarray) -> bool:
    """Return whether a region covers most, but not all, of a connected strong change.

    Such a region leaves a remnant, as the end of a stroke.

    Args:
        region: Mask ``size`` in [0, 1].
        parts: See ``strong_parts``.
    """
    if not parts.any():
        return False
    inside = np.asarray(ndimage.mean(region > 0.5, parts, np.arange(1, parts.max() + 1)))
    return bool(((inside > MOST) & (inside < ALL)).any())


def edges_nearby(image: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the strongest gradient that an image or its whole edit has within one voxel, ``size``.

    Args:
        image: ``(channels, *size)`` in [0, 1].
        whole: The edit without a region, likewise.
    """
    return np.maximum(*(ndimage.maximum_filter(_gradient(each), 3) for each in (image, whole)))


def seam(edges: np.ndarray, part: np.ndarray) -> float:
    """Return how strong the borders are that a part of an edit has and neither the image nor the whole edit has nearby.

    Args:
        edges: See ``edges_nearby``.
        part: What is kept of the edit, ``(channels, *size)`` in [0, 1].

    Returns:
        Mean over the strongest voxels (``SEAM_SHARE``) of the gradient's magnitude, in units of the range a voxel,
        beyond ``edges``; negative where there is no new border.
    """
    beyond = np.sort((_gradient(part) - edges).ravel())
    return float(beyond[-max(1, round(SEAM_SHARE * beyond.size)) :].mean())


def _gradient(image: np.ndarray) -> np.ndarray:
    """Magnitude of the gradient ``size``, the strongest of the channels."""
    along = [np.gradient(channel) for channel in image]
    return np.asarray(np.max([np.sqrt(np.sum(np.square(each), axis=0)) for each in along], axis=0))
