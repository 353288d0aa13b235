"""An image and its grid in space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from otherwise.errors import ImageError

Unit = Literal["mm", "px"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular voxel grid in patient space.

    Attributes:
        shape: Number of voxels along i, j, k. A 2-D image is a one-slice volume, ``k == 1``.
        affine: ``(4, 4)`` float64 from voxel index ``(i, j, k)`` (voxel centres) to RAS millimetres.

    Raises:
        ImageError: if an axis is empty, or the affine is not finite or not invertible (zero spacing).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64) + 0.0  # -0.0 would have another hash
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ImageError(f"The image has no voxels (shape {self.shape}).", "Give an image of at least one voxel.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ImageError(
                "The image's spacing or direction is zero or not a number.", "Correct its header and try again."
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the distance of voxel centres along i, j, k in millimetres."""
        i, j, k = (float(np.linalg.norm(self.affine[:3, axis])) for axis in range(3))
        return (i, j, k)

    @property
    def voxel_volume(self) -> float:
        """Return the volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def pixel_area(self) -> float:
        """Return the area of one pixel of a slice along k in square millimetres."""
        return float(np.linalg.norm(np.cross(self.affine[:3, 0], self.affine[:3, 1])))

    def to_ras(self, index: np.ndarray) -> np.ndarray:
        """Map voxel indices ``(..., 3)`` to RAS millimetres ``(..., 3)``."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, ras: np.ndarray) -> np.ndarray:
        """Map RAS millimetres ``(..., 3)`` to voxel indices ``(..., 3)``."""
        offset = np.asarray(ras, dtype=np.float64) - self.affine[:3, 3]
        return np.linalg.solve(self.affine[:3, :3], offset[..., None])[..., 0]

    def slice(self, k: int) -> Geometry:
        """Return the grid of one slice along k, where it lies in space.

        Raises:
            ImageError: if there is no such slice.
        """
        count = self.shape[2]
        if not 0 <= k < count:
            raise ImageError(f"The image has no slice {k}.", f"Choose one from 0 to {count - 1}.")
        if count == 1:
            return self
        affine = self.affine.copy()
        affine[:3, 3] = self.to_ras(np.array([0, 0, k]))
        return Geometry((*self.shape[:2], 1), affine)

    def crop(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> Geometry:
        """Return the grid of the voxels from ``low`` up to but not including ``high``, where they lie in space.

        Raises:
            ImageError: if the box is empty or reaches beyond the grid.
        """
        if not all(0 <= a < b <= count for a, b, count in zip(low, high, self.shape, strict=True)):
            raise ImageError(f"There are no voxels from {low} to {high} in a grid of {self.shape}.", "Move the box.")
        affine = self.affine.copy()
        affine[:3, 3] = self.to_ras(np.array(low))
        i, j, k = (b - a for a, b in zip(low, high, strict=True))
        return Geometry((i, j, k), affine)

    def same_as(self, other: Geometry) -> bool:
        """Return whether both grids are identical to the last bit."""
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels on a grid.

    Attributes:
        array: ``(channels, i, j, k)`` in the image's own units (HU, grey values); any real dtype.
        geometry: The grid, shared by all channels.
        id: Display name; never a patient's name.
        dimension: 2 where the source is one plane (radiograph, photograph), else 3.
        modality: DICOM's two letters, such as MG; empty where the source does not say.
        unit: Unit of the geometry: "mm", or "px" for pixels of unknown size.
    """

    array: np.ndarray
    geometry: Geometry
    id: str = "image"
    dimension: int = 3
    modality: str = ""
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise ImageError(
                f"Voxels of shape {self.array.shape} do not fit a grid of {self.geometry.shape}.",
                "Give channels first, then i, j, k.",
            )

    @cached_property
    def sha256(self) -> str:
        """Return a digest of the voxels, their type, and the grid."""
        digest = hashlib.sha256(str((self.array.shape, self.array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(self.array).data)
        digest.update(self.geometry.affine.tobytes())
        return digest.hexdigest()

    def slice(self, k: int) -> Image:
        """Take one slice along k as a 2-D image; see :meth:`Geometry.slice`."""
        geometry = self.geometry.slice(k)
        return Image(self.array[..., k : k + 1], geometry, self.id, 2, self.modality, self.unit)

    def crop(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> Image:
        """Take a box of voxels; see :meth:`Geometry.crop`."""
        part = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
        return Image(self.array[part], self.geometry.crop(low, high), self.id, self.dimension, self.modality, self.unit)

    def with_array(self, array: np.ndarray, id: str | None = None) -> Image:
        """Make another image on the same grid."""
        return Image(array, self.geometry, id or self.id, self.dimension, self.modality, self.unit)


def check_content(image: Image) -> Image:
    """Refuse voxels that no classifier can answer for.

    Returns:
        The same image.

    Raises:
        ImageError: if voxels are NaN or infinite, or all voxels are equal.
    """
    if not np.isfinite(image.array).all():
        raise ImageError(f"Image {image.id} has voxels that are not numbers (NaN or infinite).", "Mask or crop them.")
    if image.array.min() == image.array.max():
        raise ImageError(f"Image {image.id} is constant: every voxel has the same value.", "Choose another image.")
    return image
