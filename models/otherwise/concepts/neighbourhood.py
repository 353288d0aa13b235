"""Cut out the part of an image within some millimetres of a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.images.image import Image


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A region and what is near it.

    A region on one slice along k, of a picture or drawn on a volume, has a neighbourhood in 2-D on that slice.

    Attributes:
        box: Where it lies on the image's grid ``(i, j, k)``.
        values: float32 ``(i, j)`` or ``(i, j, k)``; of several channels the mean.
        mask: bool of the same shape: the region.
        spacing: Millimetres of each axis.
    """

    box: tuple[slice, slice, slice]
    values: np.ndarray
    mask: np.ndarray
    spacing: np.ndarray


def neighbourhood(image: Image, mask: np.ndarray, reach: float) -> Neighbourhood:
    """Cut out what lies within reach of a region, and one voxel more.

    Args:
        image: Any.
        mask: bool ``(i, j, k)`` on the image's grid, not empty.
        reach: Millimetres.
    """
    spacing = np.asarray(image.geometry.spacing, float)
    ends = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    flat = ends[2][0] == ends[2][-1]
    margin = np.ceil(reach / spacing).astype(int) + 1
    margin[2] *= not flat
    i, j, k = (
        slice(max(0, int(taken[0]) - more), int(taken[-1]) + more + 1)
        for taken, more in zip(ends, margin.tolist(), strict=True)
    )
    values, inside = image.array[:, i, j, k].astype(np.float32).mean(0), mask[i, j, k]
    if flat:
        return Neighbourhood((i, j, k), values[..., 0], inside[..., 0], spacing[:2])
    return Neighbourhood((i, j, k), values, inside, spacing)
