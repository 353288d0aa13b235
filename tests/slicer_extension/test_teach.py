"""The Teach section of the real panel, before a server that speaks the routes for teaching and remembers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from otherwise.annotations.region import RegionMask  # noqa: E402
from OtherwiseLib import scene as scenes  # noqa: E402
from OtherwiseLib.volumes import geometry_of  # noqa: E402
from support.fake_teaching_server import MARKER, SPICULATED, School  # noqa: E402
from support.panel_session import Desk  # noqa: E402

if TYPE_CHECKING:
    from conftest import BadServer


@pytest.fixture
def school(bad_server: BadServer) -> School:
    made = School()
    bad_server.on("/", made)
    return made


@pytest.fixture
def seated(desk: Desk, school: School, bad_server: BadServer) -> Desk:
    """Connected, and one of the server's images is explained."""
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(bad_server.url)
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and desk.ui.studyBox.count() == 1 and ready(desk))
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy and only(desk).id == "one")
    return desk


def ready(desk: Desk) -> bool:
    return (desk.panel.teaching.teacher.concepts or {}).get("state") == "ready"


def only(desk: Desk) -> scenes.ShownExplanation:
    return next(iter(scenes.all_shown(desk.scene)))


def rows(table: Any) -> list[list[str]]:
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]


def name(desk: Desk, row: int, words: str) -> None:
    """Call a region of the explanation something, and wait until the server has learned it."""
    desk.ui.regionTable.clearSelection()
    desk.ui.regionTable.selectRow(row)
    desk.ui.termBox.setEditText(words)
    desk.press("nameButton")
    desk.until(lambda: desk.ui.teachMessage.text().startswith("Saved"))
    desk.until(lambda: desk.ui.regionTable.item(row, 1).text() == words)


def test_without_a_server_nothing_can_be_taught_and_it_says_why(desk: Desk) -> None:
    assert desk.ui.teachStateLabel.text() == "Not connected. Connect to a server first."
    for button in ("nameButton", "disagreeButton", "undoButton", "queryButton", "questionButton"):
        assert not getattr(desk.ui, button).isEnabled()
        assert "Connect" in getattr(desk.ui, button).toolTip()
    assert desk.ui.retryButton.isHidden()


def test_a_server_that_cannot_be_taught_is_told_apart(desk: Desk) -> None:
    desk.connect()
    desk.until(lambda: "cannot be taught" in desk.ui.teachStateLabel.text())
    assert desk.ui.teachMessage.text() == ""
    assert desk.ui.classifyButton.isEnabled()


def test_each_button_says_what_is_missing(seated: Desk) -> None:
    assert seated.ui.teachStateLabel.text() == "Nothing has been taught yet. Name a region to begin."
    assert "Select a region" in seated.ui.nameButton.toolTip()
    assert seated.ui.subjectLabel.text() == "No region is chosen."
    seated.ui.regionTable.selectRow(0)
    assert seated.ui.subjectLabel.text() == "About: region 1 of the explanation"
    assert "Choose a term" in seated.ui.nameButton.toolTip()
    seated.ui.termBox.setEditText("anything")
    assert seated.ui.nameButton.isEnabled()
    assert "nothing that could be taken back" in seated.ui.undoButton.toolTip()


def test_terms_stand_below_broader_ones_and_are_found_by_typing(seated: Desk) -> None:
    box = seated.ui.termBox
    assert [box.itemText(n) for n in range(box.count())] == [
        "Mammographic breast mass",
        "    Mass by margin",
        "        Spiculated lesion",
        "Burned-in marker",
    ]
    completer = box.completer()
    completer.setCompletionPrefix("spicul")
    assert completer.currentCompletion().strip() == "Spiculated lesion"


def test_a_named_region_gets_its_name_everywhere_once_the_server_has_learned(seated: Desk, school: School) -> None:
    seated.ui.regionTable.selectRow(0)
    seated.ui.termBox.setCurrentIndex(2)
    seated.press("nameButton")
    assert seated.ui.teachMessage.text() == "", "nothing is acknowledged before the server has said so"
    seated.until(lambda: seated.ui.teachMessage.text() == "Saved as no. 1: Spiculated lesion.")
    (note,) = school.notes
    assert (note["term"], note["explanation"], note["certain"]) == (SPICULATED, "one", True)
    assert school.regions[note["id"]] == {"label": 1}
    seated.until(lambda: seated.ui.teachStateLabel.text().startswith("Learning … 2 of 3"))
    seated.until(lambda: seated.ui.regionTable.item(0, 1).text() == "Spiculated lesion")
    shown = only(seated)
    segmentation = shown.get("regions").GetSegmentation()
    segments = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert segments[:2] == ["region 1: Spiculated lesion", "region 2"]
    assert len(segments) == len(shown.content["regions"])
    table = shown.get("region-table").GetTable()
    assert table.GetValueByName(0, "name").ToString() == "Spiculated lesion"
    assert shown.content["regions"][0]["concept"]["code"] == SPICULATED["code"]
    assert shown.get("report").GetText() == "<p>Names: Spiculated lesion</p>"
    assert seated.panel.viewer.selected_label == 1, "what was selected stays so"
    seated.until(lambda: "Version 1 of the names is in use" in seated.ui.teachStateLabel.text())
    assert (seated.ui.labelCount.text(), seated.ui.conceptCount.text()) == ("1", "1")
    assert seated.ui.namedBar.value() == 310
    assert "Spiculated lesion: 1 regions" in seated.ui.namedBar.toolTip()


def test_words_of_ones_own_with_doubt_a_remark_and_a_name(seated: Desk, school: School) -> None:
    seated.ui.authorEdit.setText("Ann")
    seated.ui.authorEdit.editingFinished.emit()
    seated.ui.sureCheck.setChecked(False)
    seated.ui.remarkEdit.setText("near the nipple")
    name(seated, 1, "odd shadow")
    (note,) = school.notes
    assert note["term"]["meaning"] == "odd shadow"
    assert note["term"]["scheme"].startswith("99")
    assert (note["certain"], note["comment"], note["author"]) == (False, "near the nipple", "Ann")
    assert seated.ui.remarkEdit.text() == ""
    assert seated.settings["Otherwise/author"] == "Ann"
    assert rows(seated.ui.historyTable)[0][1:3] == ["Ann", "odd shadow (not sure)"]


def test_undo_takes_back_the_last_and_then_the_one_before(seated: Desk, school: School) -> None:
    name(seated, 0, "Spiculated lesion")
    seated.press("disagreeButton")
    seated.until(lambda: "you disagree" in seated.ui.teachMessage.text())
    seated.until(lambda: [row[2] for row in rows(seated.ui.historyTable)] == ["disagrees", "Spiculated lesion"])
    seated.until(lambda: seated.ui.undoButton.isEnabled())
    seated.press("undoButton")
    seated.until(lambda: seated.ui.teachMessage.text() == "Taken back (no. 3).")
    seated.press("undoButton")
    seated.until(lambda: seated.ui.teachMessage.text() == "Taken back (no. 4).")
    assert [note["withdraws"] for note in school.notes[2:]] == [school.notes[1]["id"], school.notes[0]["id"]]
    assert not seated.ui.undoButton.isEnabled()
    told = ["disagrees (taken back)", "Spiculated lesion (taken back)"]
    seated.until(lambda: [row[2] for row in rows(seated.ui.historyTable)] == told)
    seated.until(lambda: seated.ui.regionTable.item(0, 1).text() == "not named")


def test_what_one_said_before_can_be_taken_back_after_connecting_again(seated: Desk, school: School) -> None:
    seated.ui.authorEdit.setText("Ann")
    seated.ui.authorEdit.editingFinished.emit()
    name(seated, 0, "Spiculated lesion")
    school.notes.append({**school.notes[0], "id": "f" * 32, "number": 2, "author": "Bob"})
    seated.press("connectButton")
    seated.until(lambda: seated.ui.historyTable.rowCount() == 2 and seated.ui.undoButton.isEnabled())
    seated.press("undoButton")
    seated.until(lambda: "Taken back" in seated.ui.teachMessage.text())
    assert school.notes[-1]["withdraws"] == school.notes[0]["id"], "and nobody else's"


def test_a_lost_connection_loses_no_label_and_records_none_twice(seated: Desk, school: School) -> None:
    school.losing = 1
    seated.ui.regionTable.selectRow(0)
    seated.ui.termBox.setEditText("Spiculated lesion")
    seated.press("nameButton")
    seated.until(lambda: not seated.ui.retryButton.isHidden())
    assert seated.ui.unsavedLabel.text() == "Not saved yet: 1."
    assert "Nothing answers" in seated.ui.teachMessage.text()
    assert not seated.ui.undoButton.isEnabled()
    assert "Try again" in seated.ui.undoButton.toolTip()
    assert seated.ui.disagreeButton.isEnabled()
    school.down = True
    seated.press("retryButton")
    seated.until(lambda: "Nothing answers" in seated.ui.teachMessage.text() and not seated.ui.retryButton.isHidden())
    school.down = False
    seated.press("retryButton")
    seated.until(lambda: seated.ui.teachMessage.text() == "Saved as no. 1: Spiculated lesion.")
    assert seated.ui.retryButton.isHidden()
    assert (len(school.notes), school.posts) == (1, 2)


def test_what_waits_outlives_the_application(seated: Desk, school: School) -> None:
    from OtherwiseLib.outbox import Outbox
    from OtherwiseLib.slicer_parts import QtTimer

    school.refusal = 500
    seated.press("disagreeButton")
    seated.until(lambda: not seated.ui.retryButton.isHidden())
    (kept,) = Outbox(QtTimer, seated.settings).unsaved
    assert kept == seated.panel.teaching.teacher.outbox.unsaved[0]
    school.refusal = 0
    seated.press("connectButton")
    seated.until(lambda: [note["id"] for note in school.notes] == [kept.annotation["id"]])
    seated.until(lambda: Outbox(QtTimer, seated.settings).unsaved == [])
    seated.settings.set("Otherwise/unsaved", '[{"address": 1}]')
    assert Outbox(QtTimer, seated.settings).unsaved == []


def test_the_main_thread_waits_for_no_answer(seated: Desk, school: School) -> None:
    import time

    school.slow.clear()
    seated.press("disagreeButton")
    seated.press("disagreeButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 1
    while time.perf_counter() < end:
        seated.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.5
    assert "being saved" in seated.ui.undoButton.toolTip()
    assert seated.ui.retryButton.isHidden(), "it is on its way"
    assert seated.ui.teachMessage.text() == ""
    school.slow.set()
    seated.until(lambda: len(school.notes) == 2 and seated.ui.undoButton.isEnabled())


def test_a_server_that_falls_silent_is_told_and_asked_again(seated: Desk, school: School) -> None:
    school.down = True
    seated.panel.teaching.teacher._watch()
    seated.until(lambda: "does not answer" in seated.ui.teachStateLabel.text())
    school.down = False
    seated.until(lambda: "Nothing has been taught yet" in seated.ui.teachStateLabel.text())


def test_what_the_server_refuses_for_good_is_told_and_not_kept(seated: Desk, school: School) -> None:
    school.refusal = 422
    seated.press("disagreeButton")
    seated.until(lambda: seated.ui.teachMessage.text() == "The server does not take that. Correct it.")
    assert seated.ui.retryButton.isHidden()
    school.refusal = 500
    seated.press("disagreeButton")
    seated.until(lambda: not seated.ui.retryButton.isHidden())
    seated.press("discardButton")
    assert seated.ui.retryButton.isHidden()
    assert school.notes == []


def test_what_was_said_to_one_server_is_not_told_to_another(seated: Desk, school: School, bad_server: Any) -> None:
    school.refusal = 500
    seated.press("disagreeButton")
    seated.until(lambda: not seated.ui.retryButton.isHidden())
    school.refusal = 0
    seated.ui.addressEdit.setText(bad_server.url.replace("127.0.0.1", "localhost"))
    seated.press("connectButton")
    seated.until(lambda: not seated.logic.busy and ready(seated))
    assert "another server: 1" in seated.ui.unsavedLabel.text()
    assert not seated.ui.retryButton.isEnabled()
    assert school.notes == []
    seated.ui.addressEdit.setText(bad_server.url)
    seated.press("connectButton")
    seated.until(lambda: len(school.notes) == 1)


def test_the_units_that_answer_come_with_their_votes_and_pictures(seated: Desk, school: School) -> None:
    seated.ui.regionTable.selectRow(0)
    seated.press("queryButton")
    seated.until(lambda: seated.ui.unitTable.rowCount() == 3)
    assert school.asked == [{"explanation": "one", "region": {"label": 1}, "threshold": 0.2}]
    assert rows(seated.ui.unitTable) == [
        ["layer3/17", "0.62", "Spiculated lesion", "yes"],
        ["layer3/4", "0.35", "Mammographic breast mass", ""],
        ["layer3/40", "0.27", "not named", ""],
    ]
    votes = seated.ui.unitTable.item(0, 0).toolTip()
    assert votes == "ann: Spiculated lesion, overlap 0.41\nbob: Burned-in marker, overlap 0.22, not sure"
    assert "3 units overlap" in seated.ui.answerLabel.text()
    assert "Mammographic breast mass (83%)" in seated.ui.answerLabel.text()
    seated.until(lambda: not seated.ui.patch3.isHidden())
    assert "layer3/17" in seated.ui.patchTitle.text()
    assert seated.ui.patch0.pixmap().width() == 80
    seated.until(lambda: not seated.ui.unitMap.isHidden())
    assert school.marked == [["layer3/17", "layer3/4", "layer3/40"]]
    seated.ui.unitTable.selectRow(2)
    seated.until(lambda: "layer3/40" in seated.ui.patchTitle.text())
    seated.ui.thresholdSpin.setValue(0.5)
    seated.press("queryButton")
    seated.until(lambda: seated.ui.unitTable.rowCount() == 1)
    seated.ui.regionTable.selectRow(1)
    assert seated.ui.unitTable.rowCount() == 0, "the answer was about another region"
    assert seated.ui.patchTitle.isHidden()
    assert seated.ui.unitMap.isHidden()


def test_the_next_question_brings_its_explanation_and_goes_to_the_region(seated: Desk, school: School) -> None:
    assert seated.ui.strategyBox.currentText() == "What names most of the decisive change"
    assert not seated.ui.goThereButton.isEnabled()
    seated.press("questionButton")
    seated.until(lambda: not seated.logic.busy and not seated.ui.reasonLabel.isHidden())
    assert "31 %" in seated.ui.reasonLabel.text()
    assert [shown.id for shown in scenes.all_shown(seated.scene)] == ["one", "two"]
    assert seated.panel.viewer.shown.id == "two"
    assert seated.panel.viewer.selected_label == 1
    seated.ui.shownBox.setCurrentIndex(0)
    assert seated.panel.viewer.selected_label == 0
    seated.press("goThereButton")
    assert (seated.panel.viewer.shown.id, seated.panel.viewer.selected_label) == ("two", 1)
    seated.press("questionButton")
    seated.until(lambda: not seated.logic.busy and seated.panel.viewer.selected_label == 2)
    seated.press("questionButton")
    seated.until(lambda: not seated.logic.busy and seated.panel.viewer.shown.id == "one")
    assert len(list(scenes.all_shown(seated.scene))) == 2
    name(seated, 0, "Spiculated lesion")
    assert not seated.ui.goThereButton.isEnabled(), "it has been answered"
    assert seated.ui.reasonLabel.isHidden()


def test_a_region_drawn_by_hand_is_named_where_it_lies(seated: Desk, school: School) -> None:
    seated.press("drawButton")
    ((node, volume),) = seated.drawings
    assert volume is only(seated).get("original")
    assert seated.ui.segmentationSelector.currentNode() is node
    assert "Select a region" in seated.ui.nameButton.toolTip(), "nothing is drawn yet"
    _, affine = geometry_of(volume)
    draw(node, "shadow", (20, 30, 0), (26, 33, 1), affine)
    assert seated.ui.segmentBox.currentText() == "shadow"
    assert seated.ui.subjectLabel.text().startswith("About: shadow, drawn on")
    seated.ui.termBox.setEditText("Burned-in marker")
    seated.press("nameButton")
    seated.until(lambda: seated.ui.teachMessage.text() == "Saved as no. 1: Burned-in marker.")
    region = RegionMask.from_json(next(iter(school.regions.values())))
    assert region.mask.all()
    assert region.geometry.shape == (6, 3, 1)
    np.testing.assert_allclose(region.geometry.affine[:3, 3], affine[:3, :3] @ [20, 30, 0] + affine[:3, 3])
    assert school.notes[0]["term"]["code"] == MARKER["code"]
    seated.ui.segmentationSelector.setCurrentNode(None)
    assert not seated.ui.nameButton.isEnabled()


def test_an_empty_segment_is_not_sent(seated: Desk, school: School) -> None:
    seated.press("drawButton")
    node = seated.drawings[0][0]
    node.GetSegmentation().AddEmptySegment("nothing")
    seated.ui.termBox.setEditText("Burned-in marker")
    seated.press("nameButton")
    assert "empty" in seated.ui.teachMessage.text()
    assert school.posts == 0


def test_spurious_names_make_a_suspected_shortcut(seated: Desk) -> None:
    assert seated.ui.shortcutLabel.isHidden()
    name(seated, 0, "Burned-in marker")
    seated.until(lambda: not seated.ui.shortcutLabel.isHidden())
    assert seated.ui.shortcutLabel.text() == "⚠ Suspected shortcut: Burned-in marker, in 12 images (30%)."


def test_another_version_is_put_to_use_and_back(seated: Desk, school: School) -> None:
    name(seated, 0, "Spiculated lesion")
    name(seated, 1, "Burned-in marker")
    seated.until(lambda: seated.ui.versionTable.rowCount() == 3)
    assert [row[0] for row in rows(seated.ui.versionTable)] == ["2 (in use)", "1", "0"]
    assert rows(seated.ui.versionTable)[0][1:] == ["2", "62%", "90%", "New: Burned-in marker."]
    assert not seated.ui.latestButton.isEnabled()
    assert "Select" in seated.ui.activateButton.toolTip()
    seated.ui.versionTable.selectRow(0)
    assert "in use" in seated.ui.activateButton.toolTip()
    seated.ui.versionTable.selectRow(1)
    seated.press("activateButton")
    seated.until(lambda: seated.ui.regionTable.item(1, 1).text() == "not named")
    assert seated.ui.regionTable.item(0, 1).text() == "Spiculated lesion"
    seated.until(lambda: "held" in seated.ui.teachStateLabel.text())
    seated.press("latestButton")
    seated.until(lambda: seated.ui.regionTable.item(1, 1).text() == "Burned-in marker")
    assert school.chosen is None


def test_closing_the_scene_and_the_panel_leaves_nothing_behind(seated: Desk, school: School) -> None:
    name(seated, 0, "Spiculated lesion")
    seated.press("drawButton")
    seated.ui.segmentationSelector.setCurrentNode(None)
    seated.logic.close()
    seated.scene.Clear(False)
    seated.panel.scene_changed()
    assert "Explain an image" in seated.ui.disagreeButton.toolTip()
    assert seated.panel.teaching._observed == []
    seated.panel.close()
    seated.until(lambda: not any(t.name == "otherwise-job" and t.is_alive() for t in threading.enumerate()))


def test_a_real_server_is_taught(desk: Desk, served: Any) -> None:
    """Two phantoms are explained, their strongest regions named, and the server asks about another one."""
    ui, teacher = desk.ui, desk.panel.teaching.teacher
    desk.answers["real"] = True
    ui.addressEdit.setText(served.url)
    ui.authorEdit.setText("Ann")
    ui.authorEdit.editingFinished.emit()
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and ui.studyBox.count() > 3 and teacher.concepts is not None, 60)
    assert ui.termBox.count() > 50
    for number, words in enumerate(("Circumscribed lesion", "Spiculated lesion")):
        ui.studyBox.setCurrentText(f"mammogram-31415-{number:05d}")
        desk.press("explainButton")
        desk.until(lambda: not desk.logic.busy, 120)
        ui.teachMessage.setText("")
        name(desk, 0, words)
    desk.until(lambda: ready(desk) and teacher.concepts["labels"] >= 2, 60)
    desk.press("questionButton")
    desk.until(lambda: not desk.logic.busy, 60)
    assert ui.trouble.text() == ""
    assert ui.reasonLabel.text()
    asked = teacher.question
    assert (desk.panel.viewer.shown.id, desk.panel.viewer.selected_label) == (asked["explanation"], asked["label"])
    ui.thresholdSpin.setValue(0.05)
    desk.press("queryButton")
    desk.until(lambda: not ui.patch0.isHidden(), 60)
    assert ui.patch0.pixmap().width() == 80
    ui.teachMessage.setVisible(False)
    desk.until(lambda: "in use" in rows(ui.versionTable)[0][0], 60)
    desk.picture("taught", ui.teachSection)
    desk.press("drawButton")
    node, volume = desk.drawings[0]
    draw(node, "drawn", (80, 80, 0), (110, 110, 1), geometry_of(volume)[1])
    ui.teachMessage.setText("")
    desk.press("nameButton")
    desk.until(lambda: ui.teachMessage.text().startswith("Saved"), 60)
    desk.press("undoButton")
    desk.until(lambda: ui.teachMessage.text().startswith("Taken back"), 60)
    desk.until(lambda: ready(desk) and teacher.concepts["labels"] == len(teacher.own), 60)


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
