"""The box in the views around the chosen find."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..files.finds import Find
from .volumes import in_world

BOX = "Otherwise.find"
"""Attribute that marks the region of interest of the chosen find."""


def mark(scene: Any, find: Find, volume: Any = None) -> Any:
    """Move the scene's box to a find; it is made if there is none.

    Args:
        scene: Scene of the box.
        find: The find.
        volume: The image; the box follows its transform.

    Returns:
        The ``vtkMRMLMarkupsROINode``.
    """
    node = marked(scene)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Find")
        node.SetAttribute(BOX, "1")
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.SetFillOpacity(0.0)
            display.SetHandlesInteractive(False)
        node.SetLocked(True)
        # It is neither saved nor offered as a region to explain.
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
    node.SetName(f"Find {find.rank}")
    matrix = vtk.vtkMatrix4x4()
    for column, axis in enumerate(find.axes):
        for row in range(3):
            matrix.SetElement(row, column, axis[row])
    for row in range(3):
        matrix.SetElement(row, 3, find.centre[row])
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID() if volume is not None else None)
    node.SetAndObserveObjectToNodeMatrix(matrix)
    node.SetSize(*find.size)
    return node


def marked(scene: Any) -> Any:
    """Return the box; None if there is none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLMarkupsROINode")
        if node.GetAttribute(BOX):
            return node
    return None


def unmark(scene: Any) -> None:
    """Remove the box."""
    node = marked(scene)
    if node is not None:
        scene.RemoveNode(node)


def place_in_world(find: Find, volume: Any = None) -> tuple[float, float, float]:
    """Return the world position of a find's middle, under the transform of its image."""
    return in_world(find.centre, volume)


def centre_of(roi: Any, volume: Any) -> list[float]:
    """Return the middle of a region of interest in the RAS of a volume, whatever transforms both are under."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(None, volume.GetParentTransformNode(), matrix)
    world = [0.0, 0.0, 0.0]
    roi.GetCenterWorld(world)
    return list(matrix.MultiplyPoint((*world, 1.0))[:3])
