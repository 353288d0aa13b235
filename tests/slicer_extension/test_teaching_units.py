"""The units that answer to a region, in the real panel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

import slicer
import vtk
from vtk.util import numpy_support

from OtherwiseLib.mrml import explanations, unit_outline
from OtherwiseLib.mrml.volumes import geometry_of
from support.fake_teaching_server import FakeTeachingServer
from support.panel_session import PanelSession
from support.teach_section import only, rows


def test_the_units_that_answer_come_with_their_votes_and_pictures(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.regionTable.selectRow(0)
    assert teaching_app.ui.thresholdSpin.text() == "limit of each unit"
    teaching_app.press("queryButton")
    teaching_app.until(lambda: teaching_app.ui.unitTable.rowCount() == 3)
    assert teaching_server.asked == [{"explanation": "one", "region": {"label": 1}}]
    assert rows(teaching_app.ui.unitTable) == [
        ["layer3/17", "0.62", "Spiculated lesion", "yes"],
        ["layer3/4", "0.35", "Mammographic breast mass", ""],
        ["layer3/40", "0.27", "not named", ""],
    ]
    votes = teaching_app.ui.unitTable.item(0, 0).toolTip()
    assert votes == "ann: Spiculated lesion, overlap 0.41\nbob: Burned-in marker, overlap 0.22, not sure"
    assert "3 units answer" in teaching_app.ui.answerLabel.text()
    assert "Mammographic breast mass (83%)" in teaching_app.ui.answerLabel.text()
    teaching_app.until(lambda: not teaching_app.ui.patch3.isHidden())
    assert "layer3/17" in teaching_app.ui.patchTitle.text()
    assert teaching_app.ui.patch0.pixmap().width() == 80
    teaching_app.until(lambda: not teaching_app.ui.unitMap.isHidden())
    assert teaching_server.marked == [["layer3/17", "layer3/4", "layer3/40"]]
    assert teaching_app.widget.minimumSizeHint().width() <= 400, "a map is no reason to widen Slicer's module panel"
    teaching_app.ui.unitTable.selectRow(2)
    teaching_app.until(lambda: "layer3/40" in teaching_app.ui.patchTitle.text())
    teaching_app.ui.thresholdSpin.setValue(0.5)
    teaching_app.press("queryButton")
    teaching_app.until(lambda: teaching_app.ui.unitTable.rowCount() == 1)
    assert teaching_server.asked[-1]["threshold"] == 0.5
    assert "1 units overlap the region by more than 0.50" in teaching_app.ui.answerLabel.text()
    teaching_app.ui.regionTable.selectRow(1)
    assert teaching_app.ui.unitTable.rowCount() == 0, "the answer was about another region"
    assert teaching_app.ui.patchTitle.isHidden()
    assert teaching_app.ui.unitMap.isHidden()


def test_the_selected_unit_is_outlined_on_the_image_asked_about(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.regionTable.selectRow(0)
    assert teaching_app.ui.unitContour.isHidden()
    teaching_app.press("queryButton")
    teaching_app.until(lambda: not teaching_app.ui.unitContour.isHidden())
    assert teaching_server.outlined == [("layer3/17", "one", "1")]
    assert teaching_app.ui.unitContour.pixmap().width() == 300
    assert teaching_app.widget.minimumSizeHint().width() <= 400
    teaching_app.ui.unitTable.selectRow(2)
    teaching_app.until(lambda: len(teaching_server.outlined) == 2 and not teaching_app.ui.unitContour.isHidden())
    assert teaching_server.outlined[-1] == ("layer3/40", "one", "1")
    teaching_app.ui.regionTable.selectRow(1)
    assert teaching_app.ui.unitContour.isHidden(), "it was of another region"


def mask_in(node: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices ``(n, 3)`` of a segmentation's voxels, and the matrix of its grid."""
    image = slicer.vtkOrientedImageData()
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 1
    assert node.GetBinaryLabelmapRepresentation(segmentation.GetNthSegmentID(0), image)
    low = np.array(image.GetExtent()[::2])
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).T
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.argwhere(voxels) + low, np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def test_the_selected_unit_is_outlined_in_the_slice_views_over_the_image(teaching_app: PanelSession) -> None:
    scene, ui = teaching_app.scene, teaching_app.ui
    ui.regionTable.selectRow(0)
    teaching_app.press("queryButton")
    teaching_app.until(lambda: unit_outline.shown_in(scene) is not None)
    node = unit_outline.shown_in(scene)
    original = only(teaching_app).get("original")
    found, affine = mask_in(node)
    assert (found.min(0).tolist(), found.max(0).tolist()) == ([3, 5, 0], [3 + 16, 8, 0])
    np.testing.assert_allclose(affine, geometry_of(original)[1], atol=1e-6)
    display = node.GetDisplayNode()
    assert display.GetVisibility2DOutline()
    assert not display.GetVisibility2DFill()
    assert not node.GetSaveWithScene()
    assert ui.segmentationSelector.currentNode() is not node
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    original.SetAndObserveTransformNodeID(transform.GetID())
    ui.unitTable.selectRow(2)
    teaching_app.until(lambda: getattr(unit_outline.shown_in(scene), "GetName", str)() == "Unit layer3/40")
    assert unit_outline.shown_in(scene).GetTransformNodeID() == transform.GetID(), "it moves with the image"
    ui.unitTable.selectRow(1)
    assert unit_outline.shown_in(scene) is None, "the outline was of another unit"
    teaching_app.until(lambda: ui.teachMessage.text() != "")
    ui.unitTable.selectRow(0)
    teaching_app.until(lambda: unit_outline.shown_in(scene) is not None)
    ui.regionTable.selectRow(1)
    assert unit_outline.shown_in(scene) is None, "the outline was of another region"


def test_the_outline_goes_with_its_explanation(teaching_app: PanelSession) -> None:
    scene, shown = teaching_app.scene, only(teaching_app)
    before = scene.GetNumberOfNodes()
    affine = geometry_of(shown.get("original"))[1]
    for _ in range(2):
        unit_outline.show(scene, shown, "layer3/17", np.ones((1, 4, 5), np.uint8), affine)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2, "the second outline replaces the first"
    unit_outline.remove(scene)
    assert scene.GetNumberOfNodes() == before
    unit_outline.show(scene, shown, "layer3/17", np.ones((1, 4, 5), np.uint8), affine)
    explanations.remove(scene, shown)
    assert unit_outline.shown_in(scene) is None
