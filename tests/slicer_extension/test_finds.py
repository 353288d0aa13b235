"""Finds in the real panel: a list with pictures, a box where each lies, and the chosen one explained."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

import vtk  # noqa: E402

from OtherwiseLib.files import finds, nrrd  # noqa: E402
from OtherwiseLib.mrml import find_box  # noqa: E402
from OtherwiseLib.mrml.volumes import voxels_of  # noqa: E402
from support.panel_session import ABOUT, FINDS, PanelSession, find_json  # noqa: E402


@pytest.fixture
def looking(app: PanelSession, volume: Any) -> PanelSession:
    """A app whose server hosts a classifier of patches; a volume is chosen."""
    about = copy.deepcopy(ABOUT)
    about["classifiers"][0]["inputs"]["patches"] = {"wanted": ["malignant"]}
    app.answers["about"] = about
    app.connect()
    app.choose(volume)
    return app


@pytest.fixture
def found(looking: PanelSession) -> PanelSession:
    looking.press("findButton")
    looking.until(lambda: not looking.logic.busy and looking.ui.findTable.rowCount() == 2)
    return looking


def box(app: PanelSession) -> Any:
    return find_box.marked(app.scene)


def started(app: PanelSession) -> dict[str, Any]:
    return {key: value for key, value in app.clients[-1].started[-1].items() if value}


def test_where_the_classifier_sees_whole_images_there_is_nothing_to_press(app: PanelSession, volume: Any) -> None:
    app.connect()
    assert app.ui.findButton.isHidden()
    assert app.ui.findTable.isHidden()


def test_finds_are_listed_with_their_pictures(found: PanelSession) -> None:
    assert started(found) == {"kind": "find", "session": "session"}
    table = found.ui.findTable
    assert found.ui.trouble.text() == ""
    assert not table.isHidden()
    assert [table.item(row, 0).text() for row in range(2)] == ["1", "2"]
    assert "malignant 90%" in table.item(0, 2).text()
    assert "R 3, A -4, S 5 mm" in table.item(0, 2).text()
    assert not table.cellWidget(0, 1).pixmap().isNull()
    assert box(found) is None
    found.picture("finds")


def test_a_click_goes_there_and_shows_the_box(found: PanelSession) -> None:
    found.ui.findTable.selectRow(1)
    node = box(found)
    assert node.GetName() == "Find 2"
    assert node.GetSize() == pytest.approx((10, 12, 8))
    corners = np.array([np.zeros(6)])
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    corners = np.array(bounds).reshape(3, 2)
    # The box's first axis runs along A, its second against R.
    np.testing.assert_allclose(corners, [[-12, 0], [-3, 7], [-3, 5]], atol=1e-6)
    found.ui.findTable.selectRow(0)
    assert box(found) is node, "there is one box, which moves"
    assert node.GetName() == "Find 1"


def test_the_box_follows_the_images_transform(found: PanelSession, volume: Any) -> None:
    transform = found.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    found.ui.findTable.selectRow(0)
    centre = [0.0] * 3
    box(found).GetCenterWorld(centre)
    assert centre == pytest.approx([103, -4, 5])
    assert find_box.place_in_world(finds.read_finds({"finds": FINDS}, found.clients[-1].keep)[0], volume) == (
        103,
        -4,
        5,
    )


def test_the_chosen_find_is_explained(found: PanelSession, volume: Any) -> None:
    found.ui.findTable.selectRow(1)
    found.press("explainButton")
    found.until(lambda: not found.logic.busy)
    assert started(found) == {"kind": "explain", "session": "session", "params": {"find": 2}}
    sent = nrrd.read(found.clients[-1].sent[-1])[0]
    assert sent.shape == voxels_of(volume).shape, "what lies around a find is part of the question"


def test_a_region_drawn_by_hand_goes_before_the_finds(found: PanelSession, volume: Any) -> None:
    found.ui.findTable.selectRow(1)
    roi = found.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "by hand")
    roi.SetCenter(1.0, 2.0, 3.0)
    roi.SetSize(5.0, 5.0, 5.0)
    found.ui.roiSelector.setCurrentNode(roi)
    assert box(found) is None
    found.press("explainButton")
    found.until(lambda: not found.logic.busy)
    assert started(found)["params"] == {"centre": pytest.approx([1, 2, 3])}
    sent = nrrd.read(found.clients[-1].sent[-1])[0]
    assert sent.shape == voxels_of(volume).shape
    found.press("classifyButton")
    found.until(lambda: not found.logic.busy)
    assert started(found)["params"] == {"centre": pytest.approx([1, 2, 3])}


def test_another_image_forgets_the_finds(found: PanelSession) -> None:
    found.ui.findTable.selectRow(0)
    found.ui.volumeSelector.setCurrentNode(None)
    assert found.ui.findTable.rowCount() == 0
    assert box(found) is None


def test_nothing_found_is_said(looking: PanelSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.panel_session.FINDS", [])
    looking.press("findButton")
    looking.until(lambda: not looking.logic.busy)
    assert looking.ui.trouble.text() == "Nothing was found in this image."


def test_an_answer_that_cannot_be_read_is_told_in_words(looking: PanelSession, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = find_json(1, 0.9, [0.0, 0.0, 0.0])
    del broken["axes"]
    monkeypatch.setattr("support.panel_session.FINDS", [broken])
    looking.press("findButton")
    looking.until(lambda: not looking.logic.busy)
    assert "cannot be read" in looking.ui.trouble.text()
