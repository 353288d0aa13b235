"""The Teach section of the real panel, before a server that speaks the routes for teaching and remembers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.mrml import explanations
from OtherwiseLib.mrml.volumes import geometry_of
from support.fake_teaching_server import SPICULATED, FakeTeachingServer
from support.panel_session import PanelSession
from support.teach_section import draw, name, only, ready, rows


def test_without_a_server_nothing_can_be_taught_and_it_says_why(app: PanelSession) -> None:
    assert app.ui.teachStateLabel.text() == "Not connected. Connect to a server first."
    for button in ("nameButton", "disagreeButton", "undoButton", "queryButton", "questionButton"):
        assert not getattr(app.ui, button).isEnabled()
        assert "Connect" in getattr(app.ui, button).toolTip()
    assert app.ui.retryButton.isHidden()


def test_a_server_that_cannot_be_taught_is_recognised(app: PanelSession) -> None:
    app.connect()
    app.until(lambda: "cannot be taught" in app.ui.teachStateLabel.text())
    assert app.ui.teachMessage.text() == ""
    assert app.ui.classifyButton.isEnabled()


def test_each_button_says_what_is_missing(teaching_app: PanelSession) -> None:
    assert teaching_app.ui.teachStateLabel.text() == "Nothing has been taught yet. Name a region to begin."
    assert "Select a region" in teaching_app.ui.nameButton.toolTip()
    assert teaching_app.ui.subjectLabel.text() == "No region is chosen."
    teaching_app.ui.regionTable.selectRow(0)
    assert teaching_app.ui.subjectLabel.text() == "About: region 1 of the explanation"
    assert "Choose a term" in teaching_app.ui.nameButton.toolTip()
    teaching_app.ui.termBox.setEditText("anything")
    assert teaching_app.ui.nameButton.isEnabled()
    assert "nothing that could be taken back" in teaching_app.ui.undoButton.toolTip()


def test_terms_stand_below_broader_ones_and_are_found_by_typing(teaching_app: PanelSession) -> None:
    box = teaching_app.ui.termBox
    assert [box.itemText(n) for n in range(box.count())] == [
        "Mammographic breast mass",
        "    Mass by margin",
        "        Spiculated lesion",
        "Burned-in marker",
    ]
    completer = box.completer()
    completer.setCompletionPrefix("spicul")
    assert completer.currentCompletion().strip() == "Spiculated lesion"


def test_a_named_region_gets_its_name_everywhere_once_the_server_has_learned(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.regionTable.selectRow(0)
    teaching_app.ui.termBox.setCurrentIndex(2)
    teaching_app.press("nameButton")
    assert teaching_app.ui.teachMessage.text() == "", "nothing is acknowledged before the server has said so"
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Saved as no. 1: Spiculated lesion.")
    (note,) = teaching_server.notes
    assert (note["term"], note["explanation"], note["certain"]) == (SPICULATED, "one", True)
    assert teaching_server.regions[note["id"]] == {"label": 1}
    teaching_app.until(lambda: teaching_app.ui.teachStateLabel.text().startswith("Learning … 2 of 3"))
    teaching_app.until(lambda: teaching_app.ui.regionTable.item(0, 1).text() == "Spiculated lesion")
    shown = only(teaching_app)
    segmentation = shown.get("regions").GetSegmentation()
    segments = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert segments[:2] == ["region 1: Spiculated lesion", "region 2"]
    assert len(segments) == len(shown.content["regions"])
    table = shown.get("region-table").GetTable()
    assert table.GetValueByName(0, "name").ToString() == "Spiculated lesion"
    assert shown.content["regions"][0]["concept"]["code"] == SPICULATED["code"]
    assert shown.get("report").GetText() == "<p>Names: Spiculated lesion</p>"
    assert teaching_app.panel.viewer.selected_label == 1, "what was selected stays so"
    teaching_app.until(lambda: "Version 1 of the names is in use" in teaching_app.ui.teachStateLabel.text())
    assert (teaching_app.ui.labelCount.text(), teaching_app.ui.conceptCount.text()) == ("1", "1")
    assert teaching_app.ui.namedBar.value() == 310
    assert "Spiculated lesion: 1 regions" in teaching_app.ui.namedBar.toolTip()


def test_words_of_ones_own_with_doubt_a_remark_and_a_name(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.authorEdit.setText("Ann")
    teaching_app.ui.authorEdit.editingFinished.emit()
    teaching_app.ui.sureCheck.setChecked(False)
    teaching_app.ui.remarkEdit.setText("near the nipple")
    name(teaching_app, 1, "odd shadow")
    (note,) = teaching_server.notes
    assert note["term"]["meaning"] == "odd shadow"
    assert note["term"]["scheme"].startswith("99")
    assert (note["certain"], note["comment"], note["author"]) == (False, "near the nipple", "Ann")
    assert teaching_app.ui.remarkEdit.text() == ""
    assert teaching_app.settings["Otherwise/author"] == "Ann"
    assert rows(teaching_app.ui.historyTable)[0][1:3] == ["Ann", "odd shadow (not sure)"]


def test_undo_takes_back_the_last_and_then_the_one_before(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    name(teaching_app, 0, "Spiculated lesion")
    teaching_app.press("disagreeButton")
    teaching_app.until(lambda: "you disagree" in teaching_app.ui.teachMessage.text())
    teaching_app.until(
        lambda: [row[2] for row in rows(teaching_app.ui.historyTable)] == ["disagrees", "Spiculated lesion"]
    )
    teaching_app.until(lambda: teaching_app.ui.undoButton.isEnabled())
    teaching_app.press("undoButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Taken back (no. 3).")
    teaching_app.press("undoButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Taken back (no. 4).")
    assert [note["withdraws"] for note in teaching_server.notes[2:]] == [
        teaching_server.notes[1]["id"],
        teaching_server.notes[0]["id"],
    ]
    assert not teaching_app.ui.undoButton.isEnabled()
    shown = ["disagrees (taken back)", "Spiculated lesion (taken back)"]
    teaching_app.until(lambda: [row[2] for row in rows(teaching_app.ui.historyTable)] == shown)
    teaching_app.until(lambda: teaching_app.ui.regionTable.item(0, 1).text() == "not named")


def test_what_one_said_before_can_be_taken_back_after_connecting_again(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_app.ui.authorEdit.setText("Ann")
    teaching_app.ui.authorEdit.editingFinished.emit()
    name(teaching_app, 0, "Spiculated lesion")
    teaching_server.notes.append({**teaching_server.notes[0], "id": "f" * 32, "number": 2, "author": "Bob"})
    teaching_app.press("connectButton")
    teaching_app.until(lambda: teaching_app.ui.historyTable.rowCount() == 2 and teaching_app.ui.undoButton.isEnabled())
    teaching_app.press("undoButton")
    teaching_app.until(lambda: "Taken back" in teaching_app.ui.teachMessage.text())
    assert teaching_server.notes[-1]["withdraws"] == teaching_server.notes[0]["id"], "and nobody else's"


def test_a_question_that_cannot_be_asked_is_reported_where_it_was_pressed(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    """The top of a long panel is out of sight there."""
    teaching_server.open_questions = False
    teaching_app.press("questionButton")
    teaching_app.until(lambda: not teaching_app.logic.busy)
    assert "nothing left to ask" in teaching_app.ui.teachMessage.text()
    assert not teaching_app.ui.trouble.text()


def test_the_next_question_brings_its_explanation_and_goes_to_the_region(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    assert teaching_app.ui.strategyBox.currentText() == "What names most of the decisive change"
    assert not teaching_app.ui.goThereButton.isEnabled()
    teaching_app.press("questionButton")
    teaching_app.until(lambda: not teaching_app.logic.busy and not teaching_app.ui.reasonLabel.isHidden())
    assert "31 %" in teaching_app.ui.reasonLabel.text()
    assert [shown.id for shown in explanations.all_shown(teaching_app.scene)] == ["one", "two"]
    assert teaching_app.panel.viewer.shown.id == "two"
    assert teaching_app.panel.viewer.selected_label == 1
    teaching_app.ui.shownBox.setCurrentIndex(0)
    assert teaching_app.panel.viewer.selected_label == 0
    teaching_app.press("goThereButton")
    assert (teaching_app.panel.viewer.shown.id, teaching_app.panel.viewer.selected_label) == ("two", 1)
    teaching_app.press("questionButton")
    teaching_app.until(lambda: not teaching_app.logic.busy and teaching_app.panel.viewer.selected_label == 2)
    teaching_app.press("questionButton")
    teaching_app.until(lambda: not teaching_app.logic.busy and teaching_app.panel.viewer.shown.id == "one")
    assert len(list(explanations.all_shown(teaching_app.scene))) == 2
    name(teaching_app, 0, "Spiculated lesion")
    assert not teaching_app.ui.goThereButton.isEnabled(), "it has been answered"
    assert teaching_app.ui.reasonLabel.isHidden()


def test_spurious_names_make_a_suspected_shortcut(teaching_app: PanelSession) -> None:
    assert teaching_app.ui.shortcutLabel.isHidden()
    name(teaching_app, 0, "Burned-in marker")
    teaching_app.until(lambda: not teaching_app.ui.shortcutLabel.isHidden())
    assert teaching_app.ui.shortcutLabel.text() == "⚠ Suspected shortcut: Burned-in marker, in 12 images (30%)."


def test_another_version_is_put_to_use_and_back(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    name(teaching_app, 0, "Spiculated lesion")
    name(teaching_app, 1, "Burned-in marker")
    teaching_app.until(lambda: teaching_app.ui.versionTable.rowCount() == 3)
    assert [row[0] for row in rows(teaching_app.ui.versionTable)] == ["2 (in use)", "1", "0"]
    assert rows(teaching_app.ui.versionTable)[0][1:] == ["2", "62%", "90%", "New: Burned-in marker."]
    assert not teaching_app.ui.latestButton.isEnabled()
    assert "Select" in teaching_app.ui.activateButton.toolTip()
    teaching_app.ui.versionTable.selectRow(0)
    assert "in use" in teaching_app.ui.activateButton.toolTip()
    teaching_app.ui.versionTable.selectRow(1)
    teaching_app.press("activateButton")
    teaching_app.until(lambda: teaching_app.ui.regionTable.item(1, 1).text() == "not named")
    assert teaching_app.ui.regionTable.item(0, 1).text() == "Spiculated lesion"
    teaching_app.until(lambda: "held" in teaching_app.ui.teachStateLabel.text())
    teaching_app.press("latestButton")
    teaching_app.until(lambda: teaching_app.ui.regionTable.item(1, 1).text() == "Burned-in marker")
    assert teaching_server.chosen is None


def test_closing_the_scene_and_the_panel_leaves_nothing_behind(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    name(teaching_app, 0, "Spiculated lesion")
    teaching_app.press("drawButton")
    teaching_app.ui.segmentationSelector.setCurrentNode(None)
    teaching_app.logic.close()
    teaching_app.scene.Clear(False)
    teaching_app.panel.scene_changed()
    assert "Explain an image" in teaching_app.ui.disagreeButton.toolTip()
    assert teaching_app.panel.teaching.region._observed == []
    teaching_app.panel.close()
    teaching_app.until(lambda: not any(t.name == "otherwise-job" and t.is_alive() for t in threading.enumerate()))


@pytest.mark.long
def test_a_real_server_is_taught(app: PanelSession, served: Any) -> None:
    """Two phantoms are explained, their strongest regions named, and the server asks about another one."""
    ui, teacher = app.ui, app.panel.teaching.teacher
    app.answers["real"] = True
    ui.addressEdit.setText(served.url)
    ui.authorEdit.setText("Ann")
    ui.authorEdit.editingFinished.emit()
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and ui.studyBox.count() > 3 and teacher.concepts is not None, 60)
    assert ui.termBox.count() > 50
    for number, words in enumerate(("Circumscribed lesion", "Spiculated lesion")):
        ui.studyBox.setCurrentText(f"mammogram-31415-{number:05d}")
        app.press("explainButton")
        app.until(lambda: not app.logic.busy, 120)
        ui.teachMessage.setText("")
        name(app, 0, words)
    app.until(lambda: ready(app) and teacher.concepts["labels"] >= 2, 60)
    app.press("questionButton")
    app.until(lambda: not app.logic.busy, 60)
    assert ui.trouble.text() == ""
    assert ui.reasonLabel.text()
    asked = teacher.question
    assert (app.panel.viewer.shown.id, app.panel.viewer.selected_label) == (asked["explanation"], asked["label"])
    ui.thresholdSpin.setValue(0.05)
    app.press("queryButton")
    app.until(lambda: not ui.patch0.isHidden(), 60)
    assert ui.patch0.pixmap().width() == 80
    app.until(lambda: not ui.unitContour.isHidden(), 60)
    app.until(lambda: not ui.unitMap.isHidden(), 60)
    ui.teachMessage.setVisible(False)
    app.until(lambda: "in use" in rows(ui.versionTable)[0][0], 60)
    app.picture("taught", ui.teachSection)
    app.press("drawButton")
    node, volume = app.drawings[0]
    draw(node, "drawn", (80, 80, 0), (110, 110, 1), geometry_of(volume)[1])
    ui.teachMessage.setText("")
    app.press("nameButton")
    app.until(lambda: ui.teachMessage.text().startswith("Saved"), 60)
    app.press("undoButton")
    app.until(lambda: ui.teachMessage.text().startswith("Taken back"), 60)
    app.until(lambda: ready(app) and teacher.concepts["labels"] == len(teacher.own), 60)
