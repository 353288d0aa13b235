"""Which part of an image's foreground is tissue: neither a label, nor the bright edge of a film, nor air."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import suited_channels
from otherwise.finding.muscle import pectoral_muscle
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import windowed

SAMPLES = 24
"""Samples along the shortest edge of a patch."""
FEWEST = 16
"""With fewer of them a thin structure cannot be told from tissue."""
SMALL = 0.05
"""A piece of foreground that is smaller than this share of the largest one is a label or a marker."""


class TissueMap:
    """The share of tissue in any patch of one image.

    The foreground is sampled coarsely, so that the map costs next to nothing. What is thinner than an eighth of a patch
    is removed (the edge of a film, lines, text), and of the pieces that are left the small ones. Without a limit for
    the foreground everything is tissue.

    Args:
        image: 2-D, or a volume; in its own units.
        inputs: Of a classifier of patches.
        muscle: The pectoral muscle of a mammogram is tissue, too; see ``muscle``.

    Attributes:
        tissue: bool ``(i, j, k)``, samples of the image.
    """

    def __init__(self, image: Image, inputs: InputSpec, muscle: bool = True) -> None:
        assert inputs.patches is not None
        assert inputs.spacing is not None
        self._geometry = image.geometry
        self._edges = np.array(inputs.size)
        patch = min(edge * step for edge, step in zip(inputs.size, inputs.spacing, strict=True))
        across = patch / np.array(image.geometry.spacing)
        # Slices of a 2-D classifier are looked at one by one; everything else is sampled evenly.
        wide = np.array(image.geometry.shape) > 1
        self._step = np.where(wide, np.maximum(1, across // SAMPLES), 1).astype(int)
        i, j, k = self._step
        samples = image.array[:, ::i, ::j, ::k]
        limit = inputs.patches.foreground
        if limit is None:
            self.tissue = np.ones(samples.shape[1:], bool)
        else:
            a, b, c = samples.shape[1:]
            coarse = Image(samples, Geometry((a, b, c), np.eye(4)), image.id, image.dimension)
            suited = suited_channels(coarse, inputs).array
            foreground = (suited > limit).any(axis=0)
            thick_enough = (across / self._step)[wide].min(initial=np.inf) >= FEWEST
            self.tissue = tissue_of(foreground) if thick_enough else foreground
            if not muscle:
                brightness = windowed(suited.mean(axis=0), inputs.intensity)
                for k in range(c):
                    self.tissue[..., k] &= ~pectoral_muscle(brightness[..., k], self.tissue[..., k])
        sums = self.tissue.astype(np.int64)
        for axis in range(3):
            sums = np.cumsum(sums, axis=axis)
        self._sums = np.pad(sums, ((1, 0),) * 3)

    def shares(self, starts: np.ndarray, grid: Geometry) -> np.ndarray:
        """Return the share of tissue in patches, ``(patches,)`` in [0, 1].

        Args:
            starts: ``(patches, 2 or 3)`` first voxels on ``grid``.
            grid: The classifier's, along the image's own axes.
        """
        more = 3 - starts.shape[1]
        low = np.pad(starts, ((0, 0), (0, more))) - 0.5
        high = low + np.pad(self._edges, (0, more), constant_values=1)
        corners = np.stack([self._geometry.to_index(grid.to_ras(corner)) for corner in (low, high)])
        limit = np.array(self.tissue.shape)
        first = np.clip(np.ceil(corners.min(axis=0) / self._step - 1e-6), 0, limit - 1).astype(int)
        last = np.clip(np.ceil(corners.max(axis=0) / self._step - 1e-6), first + 1, limit).astype(int)
        total = np.zeros(len(starts), np.int64)
        for corner in np.ndindex(2, 2, 2):
            i, j, k = np.where(np.array(corner), last, first).T
            total += (-1) ** (3 - sum(corner)) * self._sums[i, j, k]
        return np.asarray(total / np.prod(last - first, axis=1))


def tissue_of(foreground: np.ndarray) -> np.ndarray:
    """Return what of a coarse mask ``(i, j, k)`` is tissue; all of it where nothing is thick enough."""
    block = np.ones([3 if edge > 1 else 1 for edge in foreground.shape], bool)
    padded = np.pad(foreground, [(1, 1) if edge > 1 else (0, 0) for edge in foreground.shape], mode="edge")
    thick = ndimage.binary_opening(ndimage.binary_closing(padded, block), block)
    inner = tuple(slice(1, -1) if edge > 1 else slice(None) for edge in foreground.shape)
    pieces, count = ndimage.label(thick[inner])
    if not count:
        return foreground
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.isin(pieces, np.flatnonzero(sizes >= SMALL * sizes.max())) & foreground
