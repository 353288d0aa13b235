"""The outline of what a unit responds to, in the slice views over the image of an explanation."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from vtk.util import numpy_support

from .explanations import PART, ShownExplanation
from .volumes import vtk_matrix

UNIT = "Otherwise.unit"
"""Attribute of the outline's segmentation: the name of the unit."""
COLOUR = (0.90, 0.62, 0.00)
"""As in the picture that the server draws."""


def show(scene: Any, shown: ShownExplanation, unit: str, voxels: np.ndarray, affine: np.ndarray) -> Any:
    """Outline what a unit responds to; an outline that is there already is replaced.

    Args:
        scene: Gets the segmentation.
        shown: The explanation; the outline follows the transform of its image, and goes when it goes.
        unit: Name of the unit.
        voxels: ``(k, j, i)``, not zero where the unit responds.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.

    Returns:
        The ``vtkMRMLSegmentationNode``. It is neither saved nor offered as a drawn region.
    """
    remove(scene)
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(f"Unit {unit}")
    node.SetAttribute(UNIT, unit)
    node.SetAttribute(PART, shown.key)
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    id = node.AddSegmentFromBinaryLabelmapRepresentation(_labelmap(voxels, affine), unit, COLOUR)
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetVisibility3D(False)
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSegmentOpacity2DOutline(id, 1.0)
    original = shown.get("original")
    if original is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(original)
        node.SetAndObserveTransformNodeID(original.GetTransformNodeID())
    return node


def shown_in(scene: Any) -> Any:
    """Return the outline's segmentation; None if there is none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
        if node.GetAttribute(UNIT):
            return node
    return None


def remove(scene: Any) -> None:
    """Remove the outline with its display node."""
    node = shown_in(scene)
    if node is None:
        return
    display = node.GetDisplayNode()
    scene.RemoveNode(node)
    if display is not None and display.GetScene() is scene:
        scene.RemoveNode(display)


def _labelmap(voxels: np.ndarray, affine: np.ndarray) -> Any:
    """Return a mask as ``vtkOrientedImageData``."""
    mask = np.ascontiguousarray(voxels != 0).astype(np.uint8)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*reversed(mask.shape))
    scalars = numpy_support.numpy_to_vtk(mask.ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(vtk_matrix(affine))
    return image
