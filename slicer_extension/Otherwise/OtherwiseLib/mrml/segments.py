"""Regions drawn with the Segment Editor, in the form that the server reads."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support


class RegionError(Exception):
    """A segment cannot be sent; the text is for people."""


def region_of(segmentation: Any, segment: str, volume: Any = None) -> dict:
    """Return a segment's voxels and their geometry, cropped to what is drawn.

    Args:
        segmentation: ``vtkMRMLSegmentationNode``.
        segment: Id of the segment.
        volume: The image; where it and the drawing lie under different transforms, the region is brought into the
            image's own millimetres, which are those of the server.

    Returns:
        ``shape`` along i, j, k; ``affine`` from voxel index to RAS millimetres; ``voxels``: one bit each, k fastest,
        first of eight in the highest bit, zlib, base64.

    Raises:
        RegionError: if nothing is drawn, or it lies under a transform that bends.
    """
    image = slicer.vtkOrientedImageData()
    if segmentation.GetSegmentation().GetSegment(segment) is None:
        raise RegionError("The segment is no longer there. Choose another one.")
    if not segmentation.GetBinaryLabelmapRepresentation(segment, image) or image.GetPointData().GetScalars() is None:
        raise RegionError("The segment is empty. Draw something first.")
    extent = image.GetExtent()
    edges = [extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3)]
    drawn = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(edges[::-1]).T
    if not drawn.any():
        raise RegionError("The segment is empty. Draw something first.")
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = _between(segmentation, volume) @ _array(matrix)
    return mask_json(drawn, affine, extent[::2])


def mask_json(drawn: np.ndarray, affine: np.ndarray, first: tuple = (0, 0, 0)) -> dict:
    """Return a mask in the form that the server reads, on the smallest box that holds it.

    Args:
        drawn: ``(i, j, k)``, at least one not zero.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
        first: Index of the mask's first voxel.
    """
    part, low = drawn, np.array(first)
    # Along k first: there a segment's voxels lie one after the other, and what is left is small.
    for axis in (2, 1, 0):
        taken = np.flatnonzero(part.any(axis=tuple(other for other in range(3) if other != axis)))
        part = part[(slice(None),) * axis + (slice(int(taken[0]), int(taken[-1]) + 1),)]
        low[axis] += taken[0]
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    moved[3] = (0, 0, 0, 1)
    packed = zlib.compress(np.packbits(part != 0).tobytes())
    return {
        "shape": [int(edge) for edge in part.shape],
        "affine": moved.tolist(),
        "voxels": base64.b64encode(packed).decode("ascii"),
    }


def segments_of(segmentation: Any) -> list[tuple[str, str]]:
    """Return id and name of each segment."""
    if segmentation is None:
        return []
    held = segmentation.GetSegmentation()
    ids = [held.GetNthSegmentID(number) for number in range(held.GetNumberOfSegments())]
    return [(id, held.GetSegment(id).GetName()) for id in ids]


def new_drawing(scene: Any, volume: Any, name: str) -> Any:
    """Make an empty segmentation on the grid of a volume and under its transform."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return node


def _between(segmentation: Any, volume: Any) -> np.ndarray:
    """``(4, 4)`` from the drawing's own RAS to the volume's own."""
    there = segmentation.GetParentTransformNode()
    here = volume.GetParentTransformNode() if volume is not None else None
    if there is here:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(there, here, matrix):
        raise RegionError("The drawing lies under a transform that bends. Harden it first.")
    return _array(matrix)


def _array(matrix: Any) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
