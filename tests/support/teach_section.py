"""Helpers for tests of the panel's Teach section. Needs Slicer's core."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from OtherwiseLib.mrml import explanations
from support.panel_session import PanelSession


def ready(app: PanelSession) -> bool:
    return (app.panel.teaching.teacher.concepts or {}).get("state") == "ready"


def only(app: PanelSession) -> explanations.ShownExplanation:
    return next(iter(explanations.all_shown(app.scene)))


def rows(table: Any) -> list[list[str]]:
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]


def name(app: PanelSession, row: int, words: str) -> None:
    """Call a region of the explanation something, and wait until the server has learned it."""
    app.ui.regionTable.clearSelection()
    app.ui.regionTable.selectRow(row)
    app.ui.termBox.setEditText(words)
    app.press("nameButton")
    app.until(lambda: app.ui.teachMessage.text().startswith("Saved"))
    app.until(lambda: app.ui.regionTable.item(row, 1).text() == words)


def draw(node: Any, name: str, low: tuple, high: tuple, affine: np.ndarray) -> str:
    """Fill a box of voxels as the Segment Editor would."""
    import vtk

    image = slicer.vtkOrientedImageData()
    image.SetExtent(low[0] - 2, high[0] + 1, low[1] - 2, high[1] + 1, low[2], high[2] - 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(0)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            for k in range(low[2], high[2]):
                image.SetScalarComponentFromDouble(i, j, k, 0, 1)
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, affine[row, column])
    image.SetImageToWorldMatrix(matrix)
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.9, 0.6, 0.2]))
