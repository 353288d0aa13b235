"""What a reader says of a region in the real panel: a name, not this, cannot tell; also of a drawn one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from otherwise.annotations.region import RegionMask
from OtherwiseLib.mrml.volumes import geometry_of
from support.fake_teaching_server import MARKER, SPICULATED, FakeTeachingServer
from support.panel_session import PanelSession
from support.teach_section import draw, name, only, rows


def test_a_region_that_does_not_show_a_term_is_called_not_that(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    name(teaching_app, 0, "Spiculated lesion")
    assert "Select" not in teaching_app.ui.notThisButton.toolTip()
    teaching_app.ui.remarkEdit.setText("smooth")
    teaching_app.press("notThisButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Saved as no. 2: not Spiculated lesion.")
    note = teaching_server.notes[-1]
    assert (note["kind"], note["term"], note["comment"]) == ("not-this", SPICULATED, "smooth")
    assert teaching_server.regions[note["id"]] == {"label": 1}
    teaching_app.until(lambda: rows(teaching_app.ui.historyTable)[0][2] == "not Spiculated lesion")


def test_who_cannot_tell_says_so_of_the_whole_region_whatever_term_is_typed(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    for button in ("notThisButton", "cannotTellButton"):
        assert "Select a region" in getattr(teaching_app.ui, button).toolTip()
    teaching_app.ui.regionTable.selectRow(1)
    assert "Choose a term" in teaching_app.ui.notThisButton.toolTip()
    assert teaching_app.ui.cannotTellButton.isEnabled(), "which needs no term"
    teaching_app.ui.termBox.setEditText("Spiculated lesion")
    teaching_app.press("cannotTellButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Saved as no. 1: cannot tell.")
    (note,) = teaching_server.notes
    assert (note["kind"], note["term"]) == ("cannot-tell", None)
    assert teaching_server.regions[note["id"]] == {"label": 2}
    teaching_app.until(lambda: teaching_app.ui.undoButton.isEnabled())
    teaching_app.press("undoButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Taken back (no. 2).")


def test_an_answer_to_a_question_answers_it(teaching_app: PanelSession, teaching_server: FakeTeachingServer) -> None:
    teaching_app.press("questionButton")
    teaching_app.until(lambda: not teaching_app.logic.busy and teaching_app.ui.goThereButton.isEnabled())
    teaching_app.press("cannotTellButton")
    teaching_app.until(lambda: not teaching_app.ui.goThereButton.isEnabled())
    assert teaching_server.notes[-1]["kind"] == "cannot-tell"


def test_a_region_drawn_by_hand_is_named_where_it_lies(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.press("drawButton")
    ((node, volume),) = teaching_app.drawings
    assert volume is only(teaching_app).get("original")
    assert teaching_app.ui.segmentationSelector.currentNode() is node
    assert "Select a region" in teaching_app.ui.nameButton.toolTip(), "nothing is drawn yet"
    _, affine = geometry_of(volume)
    draw(node, "shadow", (20, 30, 0), (26, 33, 1), affine)
    assert teaching_app.ui.segmentBox.currentText() == "shadow"
    assert teaching_app.ui.subjectLabel.text().startswith("About: shadow, drawn on")
    teaching_app.ui.termBox.setEditText("Burned-in marker")
    teaching_app.press("nameButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Saved as no. 1: Burned-in marker.")
    region = RegionMask.from_json(next(iter(teaching_server.regions.values())))
    assert region.mask.all()
    assert region.geometry.shape == (6, 3, 1)
    np.testing.assert_allclose(region.geometry.affine[:3, 3], affine[:3, :3] @ [20, 30, 0] + affine[:3, 3])
    assert teaching_server.notes[0]["term"]["code"] == MARKER["code"]
    teaching_app.ui.segmentationSelector.setCurrentNode(None)
    assert not teaching_app.ui.nameButton.isEnabled()


def test_an_empty_segment_is_not_sent(teaching_app: PanelSession, teaching_server: FakeTeachingServer) -> None:
    teaching_app.press("drawButton")
    node = teaching_app.drawings[0][0]
    node.GetSegmentation().AddEmptySegment("nothing")
    teaching_app.ui.termBox.setEditText("Burned-in marker")
    teaching_app.press("nameButton")
    assert "empty" in teaching_app.ui.teachMessage.text()
    assert teaching_server.posts == 0
