"""Displacement fields as files: vector images as ITK defines them, which 3D Slicer reads as a transform.

A vector says where to look: what lies at ``p`` in the transformed image lies at ``p + d(p)`` in the original. Here
vectors are right, anterior, superior, as everywhere in this package; files have left, posterior, superior.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from otherwise.images.rounding import step_within
from otherwise.images.writing import write_image

_LPS = np.array([-1, -1, 1], np.float32).reshape(3, 1, 1, 1)


def write_displacement(field: Image, path: Path) -> Path:
    """Write a displacement field as NRRD.

    Args:
        field: ``(3, i, j, k)`` float32, RAS. It is rounded to a 4096th of its greatest component, to be small.
        path: Target, ends in ``.nrrd``; replaced as a whole or not at all.

    Returns:
        The path.

    Raises:
        ImageError: if it has no three components.
        WriteError: if the file cannot be written.
    """
    if field.array.shape[0] != 3:
        raise ImageError(
            f"A displacement has three components, not {field.array.shape[0]}.", "Give zeros across a slice."
        )
    step = step_within(float(np.abs(field.array).max()), levels=4096)
    return write_image(field.with_array(field.array.astype(np.float32) * _LPS), path, step=step)


def read_displacement(path: Path) -> Image:
    """Read what ``write_displacement`` wrote.

    Raises:
        ImageError: if it is damaged, or no displacement field.
    """
    found = read_image(path)
    if found.array.shape[0] != 3 or not np.issubdtype(found.array.dtype, np.floating):
        raise ImageError(f"{path.name} holds no displacements.", "Copy or make the explanation again.")
    return found.with_array(found.array * _LPS + np.float32(0))
