"""Images from SimpleITK. ITK's patient axes are LPS (left, posterior, superior), ours RAS, as in 3D Slicer.

SimpleITK takes 90 MB of memory, so it is imported only by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813  (the name that everybody uses)

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK from printing warnings to the console."""
    import SimpleITK as sitk  # noqa: N813

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def swap_ras_lps(affine: np.ndarray) -> np.ndarray:
    """Turn an affine ``(4, 4)`` to RAS into one to LPS, or the reverse; exact, and without negative zeros."""
    return _FLIP @ affine + 0.0  # + 0.0 turns -0.0 into 0.0


def is_rectangular(affine: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Return whether the axes of an affine ``(4, 4)`` are at right angles (cosine below ``tolerance``), as ITK asks."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        return False
    directions = affine[:3, :3] / lengths
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() < tolerance)


def from_itk(source: sitk.Image, id: str = "image", dimension: int | None = None) -> Image:
    """Convert from a 2-D or 3-D SimpleITK image of real voxels; vector components become channels.

    Args:
        source: 2-D images become one slice, 1 mm thick, in the axial plane.
        id: Name of the result.
        dimension: 2 or 3; by default 2 where there is only one slice.

    Raises:
        ImageError: if it has more dimensions, or spacing or direction are impossible.
    """
    import SimpleITK as sitk  # noqa: N813

    if source.GetDimension() not in (2, 3):
        raise ImageError(f"Image {id} has {source.GetDimension()} dimensions.", "Give one volume of a series.")
    array = sitk.GetArrayFromImage(source)
    if source.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    if source.GetDimension() == 2:
        array = array[None]
    array = np.ascontiguousarray(array.T)
    i, j, k = array.shape[1:]
    geometry = Geometry((i, j, k), itk_affine(source.GetSpacing(), source.GetDirection(), source.GetOrigin()))
    return Image(array, geometry, id, dimension or (2 if array.shape[3] == 1 else 3))


def itk_affine(spacing: tuple[float, ...], direction: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    """Return the affine ``(4, 4)`` to RAS of ITK's spacing, direction cosines (by rows) and origin, in 2-D or 3-D."""
    count = len(spacing)
    affine = np.eye(4)
    affine[:count, :count] = np.reshape(direction, (count, count)) * np.asarray(spacing)
    affine[:count, 3] = origin
    return swap_ras_lps(affine)
