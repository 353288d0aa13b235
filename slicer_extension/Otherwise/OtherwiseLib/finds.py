"""Finds of a large image: what the server tells of each, and the box that shows where one lies."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

BOX = "Otherwise.find"
"""Marks the region of interest that shows the chosen find."""


@dataclass(frozen=True)
class Find:
    """A patch that the classifier would call so.

    Attributes:
        rank: From 1, the most probable first.
        probabilities: Of every class, by name.
        centre: R, A, S in millimetres.
        size: Millimetres along the image's own axes.
        axes: Unit vectors of these axes in RAS.
        picture: A PNG file.
    """

    rank: int
    probabilities: dict
    centre: tuple
    size: tuple
    axes: tuple
    picture: Path


def read_finds(answer: dict, folder: Path) -> list[Find]:
    """Take the finds out of a server's answer; their pictures become files of the folder.

    Raises:
        KeyError, TypeError, ValueError: if the answer is not one of an Otherwise server.
    """
    found = []
    for told in answer["finds"]:
        picture = folder / f"find-{int(told['rank'])}.png"
        picture.write_bytes(base64.b64decode(str(told["thumbnail"]).partition(",")[2]))
        found.append(
            Find(
                int(told["rank"]),
                {str(name): float(value) for name, value in told["probabilities"].items()},
                tuple(float(x) for x in told["centre_ras"]),
                tuple(float(x) for x in told["size_mm"]),
                tuple(tuple(float(x) for x in axis) for axis in told["axes"]),
                picture,
            )
        )
    return found


def mark(scene: Any, find: Find, volume: Any = None) -> Any:
    """Show where a find lies: the scene's one box of finds goes there, or is made.

    Args:
        scene: Where to.
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
        # It shows something and says nothing: neither saved, nor offered as a region to explain.
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
    """The box of finds; None if there is none."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLMarkupsROINode")
        if node.GetAttribute(BOX):
            return node
    return None


def unmark(scene: Any) -> None:
    """Take the box of finds away."""
    node = marked(scene)
    if node is not None:
        scene.RemoveNode(node)


def place_in_world(find: Find, volume: Any = None) -> tuple[float, float, float]:
    """Where a find's middle is seen: under the transform of its image."""
    matrix = vtk.vtkMatrix4x4()
    transform = volume.GetParentTransformNode() if volume is not None else None
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transform, None, matrix)
    x, y, z, _ = matrix.MultiplyPoint((*find.centre, 1.0))
    return (x, y, z)


def centre_of(roi: Any, volume: Any) -> list[float]:
    """The middle of a region of interest in the RAS of a volume, whatever transforms both are under."""
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(None, volume.GetParentTransformNode(), matrix)
    world = [0.0, 0.0, 0.0]
    roi.GetCenterWorld(world)
    return list(matrix.MultiplyPoint((*world, 1.0))[:3])
