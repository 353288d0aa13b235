"""The image that is sent: voxels and geometry of a volume or of a part of it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from ..files import nrrd
from .volumes import geometry_of, voxels_of


class ImageError(Exception):
    """A volume cannot be sent; the text is for people."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a volume's voxels and geometry, independent of the scene.

    Attributes:
        voxels: ``(k, j, i)`` or ``(k, j, i, channels)``.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
        whole: Whether this is the whole volume and not a part of it.
    """

    voxels: np.ndarray
    affine: np.ndarray
    whole: bool

    @property
    def slices(self) -> int:
        """Voxels along k."""
        return int(self.voxels.shape[0])

    def write(self, path: Path) -> Path:
        """Write an NRRD file. It takes time, so call it on a job's thread."""
        return nrrd.write(path, self.voxels, self.affine)


def snapshot(volume: Any, roi: Any = None) -> Snapshot:
    """Copy a volume, or the part of it within a region of interest.

    Args:
        volume: Scalar or vector volume.
        roi: ``vtkMRMLMarkupsROINode``; the copy is the smallest box along the volume's own axes that holds it.

    Raises:
        ImageError: if the volume is empty, or the region lies outside of it.
    """
    if volume is None or volume.GetImageData() is None or volume.GetImageData().GetPointData().GetScalars() is None:
        raise ImageError("The volume is empty. Choose another one.")
    (_, affine), voxels = geometry_of(volume), voxels_of(volume)
    if roi is None:
        return Snapshot(voxels.copy(), affine, True)
    low, high = _box(roi, volume, affine, voxels.shape)
    part = voxels[tuple(slice(a, b) for a, b in zip(reversed(low), reversed(high)))]
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    return Snapshot(part.copy(), moved, part.shape == voxels.shape)


def slice_at(volume: Any, ras: tuple[float, float, float]) -> int:
    """Return the slice (along k) of a volume that is nearest to a place in the world's RAS millimetres."""
    shape, affine = geometry_of(volume)
    to_volume = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(None, volume.GetParentTransformNode(), to_volume)
    k = (np.linalg.inv(affine) @ to_volume.MultiplyPoint((*ras, 1.0)))[2]
    return int(np.clip(round(float(k)), 0, max(0, shape[2] - 1)))


def _box(roi: Any, volume: Any, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and one past the last index ``(i, j, k)`` of the smallest box that holds the region."""
    to_volume, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    # Region and volume may lie under different transforms.
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(None, volume.GetParentTransformNode(), to_volume)
    vtk.vtkMatrix4x4.Multiply4x4(to_volume, roi.GetObjectToWorldMatrix(), matrix)
    half = [size / 2 for size in roi.GetSize()]
    corners = [
        matrix.MultiplyPoint((x * half[0], y * half[1], z * half[2], 1.0))
        for x in (-1, 1)
        for y in (-1, 1)
        for z in (-1, 1)
    ]
    index = np.linalg.inv(affine) @ np.array(corners).T
    # A voxel belongs to the box if its centre does.
    low = np.maximum(np.ceil(index[:3].min(axis=1) - 1e-6), 0).astype(int)
    high = np.minimum(np.floor(index[:3].max(axis=1) + 1e-6) + 1, tuple(reversed(shape[:3]))).astype(int)
    if (low >= high).any():
        raise ImageError("The region of interest lies outside of the volume. Move it over the volume.")
    return low, high
