"""Volume nodes and NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support


def geometry_of(volume: Any) -> tuple[tuple[int, int, int], np.ndarray]:
    """Return the voxels along i, j, k, and the ``(4, 4)`` matrix from voxel index to RAS millimetres."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    data = volume.GetImageData()
    return tuple(data.GetDimensions()) if data is not None else (0, 0, 0), affine


def voxels_of(volume: Any) -> np.ndarray:
    """Return the voxels of a volume without a copy: ``(k, j, i)``, or ``(k, j, i, channels)``."""
    data = volume.GetImageData()
    scalars = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    return scalars.reshape(tuple(reversed(data.GetDimensions())) + scalars.shape[1:])


def middle_of(volume: Any) -> tuple[float, float, float]:
    """Return the centre of a volume in RAS millimetres."""
    shape, affine = geometry_of(volume)
    centre = [(edge - 1) / 2 for edge in shape]
    x, y, z = (float(affine[row, :3] @ centre + affine[row, 3]) for row in range(3))
    return (x, y, z)


def in_world(ras: tuple[float, float, float], volume: Any) -> tuple[float, float, float]:
    """Return the world position of a place in a volume's own RAS, under the volume's transform."""
    matrix = vtk.vtkMatrix4x4()
    transform = volume.GetParentTransformNode() if volume is not None else None
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transform, None, matrix)
    x, y, z, _ = matrix.MultiplyPoint((*ras, 1.0))
    return (x, y, z)


def add_volume(scene: Any, name: str, voxels: np.ndarray, affine: np.ndarray) -> Any:
    """Make a volume, without display.

    Args:
        scene: Gets the volume.
        name: Name of the node.
        voxels: ``(k, j, i)`` for a scalar volume, ``(k, j, i, channels)`` for a vector volume; shared if contiguous.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
    """
    kind = "vtkMRMLVectorVolumeNode" if voxels.ndim == 4 else "vtkMRMLScalarVolumeNode"
    node = scene.AddNewNodeByClass(kind, name)
    set_voxels(node, voxels, affine)
    return node


def set_voxels(node: Any, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Set a volume's voxels and geometry; arguments as for ``add_volume``."""
    voxels = np.ascontiguousarray(voxels)
    data = vtk.vtkImageData()
    data.SetDimensions(*reversed(voxels.shape[:3]))
    flat = voxels.reshape(-1, voxels.shape[3]) if voxels.ndim == 4 else voxels.ravel()
    scalars = numpy_support.numpy_to_vtk(flat)
    scalars.SetName("ImageScalars")
    data.GetPointData().SetScalars(scalars)
    node.SetIJKToRASMatrix(vtk_matrix(affine))
    node.SetAndObserveImageData(data)


def vtk_matrix(affine: np.ndarray) -> Any:
    """Return ``affine (4, 4)`` as ``vtkMatrix4x4``."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, float).ravel().tolist())
    return matrix
