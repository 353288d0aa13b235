"""Voxels to write in every format, and the comparison of our reader with ITK's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from otherwise.images.image import Image
from otherwise.images.itk import from_itk

VOXELS = np.random.default_rng(0).integers(-900, 900, (7, 6, 5)).astype(np.int16)
"""``(i, j, k)``."""


def as_itk(path: Path) -> Image:
    """Read a file as ITK does, and so Slicer."""
    return from_itk(sitk.ReadImage(str(path)))


def assert_same(ours: Image, theirs: Image) -> None:
    """Compare geometry and voxels."""
    np.testing.assert_allclose(ours.geometry.affine, theirs.geometry.affine, atol=2e-4)
    np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-6, atol=1e-5)
