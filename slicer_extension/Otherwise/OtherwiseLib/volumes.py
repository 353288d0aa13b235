"""Voxels and geometry of volume nodes, as numpy sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support


def geometry_of(volume: Any) -> tuple[tuple[int, int, int], np.ndarray]:
    """Voxels along i, j, k and the ``(4, 4)`` matrix from voxel index to RAS millimetres."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    data = volume.GetImageData()
    return tuple(data.GetDimensions()) if data is not None else (0, 0, 0), affine


def voxels_of(volume: Any) -> np.ndarray:
    """``(k, j, i)`` view of a scalar volume."""
    data = volume.GetImageData()
    scalars = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    return scalars.reshape(tuple(reversed(data.GetDimensions())) + scalars.shape[1:])


def middle_of(volume: Any) -> tuple[float, float, float]:
    """The centre of a volume in RAS millimetres."""
    shape, affine = geometry_of(volume)
    centre = [(edge - 1) / 2 for edge in shape]
    x, y, z = (float(affine[row, :3] @ centre + affine[row, 3]) for row in range(3))
    return (x, y, z)
