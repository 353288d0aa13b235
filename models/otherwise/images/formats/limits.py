"""What every reader asks of a header before it believes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Geometry
from otherwise.images.itk import is_rectangular

MAX_BYTES = 2**31
"""Voxels that a header may declare, in bytes: a 512 x 512 CT of 4000 slices."""


_TRAILER = 2**20


class Readable(Protocol):
    """A binary file, compressed or not."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes."""
        ...


def check_size(shape: Sequence[int], itemsize: int, max_bytes: int) -> None:
    """Refuse an image before its voxels are read, if it has none or claims too many.

    Args:
        shape: Number of voxels along every axis, channels included.
        itemsize: Bytes of one voxel.
        max_bytes: Limit.

    Raises:
        ImageError: if an axis is empty or the product exceeds the limit.
    """
    counts = [int(count) for count in shape]
    if not counts or min(counts) < 1:
        raise ImageError(f"It has no voxels (shape {tuple(counts)}).", "Give an image of at least one voxel.")
    size = math.prod(counts) * itemsize
    if size > max_bytes:
        raise ImageError(
            f"Its header declares {' x '.join(map(str, counts))} voxels, {size / 2**30:.1f} GiB, "
            f"and the limit is {max_bytes / 2**30:.1f} GiB.",
            "Crop it, or correct its header.",
        )


def check_geometry(shape: Sequence[int], affine: np.ndarray) -> Geometry:
    """Make a grid, which neither ITK nor Slicer would refuse.

    Args:
        shape: Voxels along i, j, k.
        affine: ``(4, 4)`` to RAS.

    Raises:
        ImageError: if spacing or direction are zero or not a number, or the axes are not at right angles.
    """
    i, j, k = (int(count) for count in shape)
    geometry = Geometry((i, j, k), affine)
    if not is_rectangular(geometry.affine):
        raise ImageError(
            "Its axes are not at right angles (a sheared or tilted grid).",
            "Resample it onto a regular grid, for example with Slicer's module Resample Scalar Volume.",
        )
    return geometry


def read_voxels(file: Readable, size: int) -> bytes:
    """Read exactly ``size`` bytes, and to the end of a compressed stream, where its checksum is.

    Raises:
        ImageError: if the file ends before, or goes on for long.
        Exception: zlib.error, EOFError or OSError where compressed content is damaged.
    """
    voxels = file.read(size)
    if len(voxels) < size:
        raise ImageError("It ends before its last voxel.", "Copy or export it again.")
    if len(file.read(_TRAILER)) == _TRAILER:
        raise ImageError("It goes on behind its last voxel.", "Correct its header, or export it again.")
    return voxels


def check_real(dtype: np.dtype) -> None:
    """Refuse voxels that are no real numbers.

    Raises:
        ImageError: if they are complex, text, or records.
    """
    if dtype.kind not in "iuf":
        raise ImageError(f"Its voxels are no real numbers ({dtype}).", "Give magnitudes or grey values.")


def plain(array: np.ndarray) -> np.ndarray:
    """The same voxels as a C-ordered array of native integers or float32."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=np.float32)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
