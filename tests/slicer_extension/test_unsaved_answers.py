"""What a reader says while the server is away, slow or unwilling: nothing is lost, nothing recorded twice."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from support.fake_teaching_server import FakeTeachingServer
from support.panel_session import PanelSession
from support.teach_section import ready


def test_a_lost_connection_loses_no_label_and_records_none_twice(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_server.losing = 1
    teaching_app.ui.regionTable.selectRow(0)
    teaching_app.ui.termBox.setEditText("Spiculated lesion")
    teaching_app.press("nameButton")
    teaching_app.until(lambda: not teaching_app.ui.retryButton.isHidden())
    assert teaching_app.ui.unsavedLabel.text() == "Not saved yet: 1."
    assert "Nothing answers" in teaching_app.ui.teachMessage.text()
    assert not teaching_app.ui.undoButton.isEnabled()
    assert "Try again" in teaching_app.ui.undoButton.toolTip()
    assert teaching_app.ui.disagreeButton.isEnabled()
    teaching_server.down = True
    teaching_app.press("retryButton")
    teaching_app.until(
        lambda: "Nothing answers" in teaching_app.ui.teachMessage.text() and not teaching_app.ui.retryButton.isHidden()
    )
    teaching_server.down = False
    teaching_app.press("retryButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "Saved as no. 1: Spiculated lesion.")
    assert teaching_app.ui.retryButton.isHidden()
    assert (len(teaching_server.notes), teaching_server.posts) == (1, 2)


def test_what_waits_outlives_the_application(teaching_app: PanelSession, teaching_server: FakeTeachingServer) -> None:
    from OtherwiseLib.logic.outbox import Outbox
    from OtherwiseLib.ui.application import QtTimer

    teaching_server.refusal = 500
    teaching_app.press("disagreeButton")
    teaching_app.until(lambda: not teaching_app.ui.retryButton.isHidden())
    (kept,) = Outbox(QtTimer, teaching_app.settings).unsaved
    assert kept == teaching_app.panel.teaching.teacher.outbox.unsaved[0]
    teaching_server.refusal = 0
    teaching_app.press("connectButton")
    teaching_app.until(lambda: [note["id"] for note in teaching_server.notes] == [kept.annotation["id"]])
    teaching_app.until(lambda: Outbox(QtTimer, teaching_app.settings).unsaved == [])
    teaching_app.settings.set("Otherwise/unsaved", '[{"address": 1}]')
    assert Outbox(QtTimer, teaching_app.settings).unsaved == []


def test_the_main_thread_waits_for_no_answer(teaching_app: PanelSession, teaching_server: FakeTeachingServer) -> None:
    import time

    teaching_server.slow.clear()
    teaching_app.press("disagreeButton")
    teaching_app.press("disagreeButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 1
    while time.perf_counter() < end:
        teaching_app.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.5
    assert "being saved" in teaching_app.ui.undoButton.toolTip()
    assert teaching_app.ui.retryButton.isHidden(), "it is on its way"
    assert teaching_app.ui.teachMessage.text() == ""
    teaching_server.slow.set()
    teaching_app.until(lambda: len(teaching_server.notes) == 2 and teaching_app.ui.undoButton.isEnabled())


def test_a_server_that_falls_silent_is_told_and_asked_again(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_server.down = True
    teaching_app.panel.teaching.teacher._watch()
    teaching_app.until(lambda: "does not answer" in teaching_app.ui.teachStateLabel.text())
    teaching_server.down = False
    teaching_app.until(lambda: "Nothing has been taught yet" in teaching_app.ui.teachStateLabel.text())


def test_what_the_server_refuses_for_good_is_told_and_not_kept(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer
) -> None:
    teaching_server.refusal = 422
    teaching_app.press("disagreeButton")
    teaching_app.until(lambda: teaching_app.ui.teachMessage.text() == "The server does not take that. Correct it.")
    assert teaching_app.ui.retryButton.isHidden()
    teaching_server.refusal = 500
    teaching_app.press("disagreeButton")
    teaching_app.until(lambda: not teaching_app.ui.retryButton.isHidden())
    teaching_app.press("discardButton")
    assert teaching_app.ui.retryButton.isHidden()
    assert teaching_server.notes == []


def test_what_was_said_to_one_server_is_not_told_to_another(
    teaching_app: PanelSession, teaching_server: FakeTeachingServer, bad_server: Any
) -> None:
    teaching_server.refusal = 500
    teaching_app.press("disagreeButton")
    teaching_app.until(lambda: not teaching_app.ui.retryButton.isHidden())
    teaching_server.refusal = 0
    teaching_app.ui.addressEdit.setText(bad_server.url.replace("127.0.0.1", "localhost"))
    teaching_app.press("connectButton")
    teaching_app.until(lambda: not teaching_app.logic.busy and ready(teaching_app))
    assert "another server: 1" in teaching_app.ui.unsavedLabel.text()
    assert not teaching_app.ui.retryButton.isEnabled()
    assert teaching_server.notes == []
    teaching_app.ui.addressEdit.setText(bad_server.url)
    teaching_app.press("connectButton")
    teaching_app.until(lambda: len(teaching_server.notes) == 1)
