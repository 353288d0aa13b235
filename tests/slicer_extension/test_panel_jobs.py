"""Jobs of the real panel: cancelled, overtaken by the scene, left at the server, and without a trace at the end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.logic.logic import JOB, Logic
from OtherwiseLib.mrml import explanations
from support.panel_session import PanelSession


def hold_a_job(app: PanelSession, volume: Any) -> Any:
    """Start an explanation that the server holds half-way; return the panel's client."""
    app.connect()
    app.choose(volume)
    client = app.clients[-1]
    client.hold.clear()
    app.press("explainButton")
    app.until(lambda: app.ui.progressBar.value() > 600)
    return client


def test_cancel_stops_here_and_there(app: PanelSession, volume: Any) -> None:
    client = hold_a_job(app, volume)
    app.press("cancelButton")
    app.until(lambda: not app.logic.busy, 1)
    assert client.cancelled == ["job"]
    assert app.ui.trouble.text() == "Stopped."
    assert list(explanations.all_shown(app.scene)) == []
    assert app.ui.explainButton.isEnabled()


def test_closing_the_scene_in_the_middle_of_a_job_is_harmless(app: PanelSession, volume: Any) -> None:
    client = hold_a_job(app, volume)
    app.logic.close()
    app.ui.volumeSelector.setCurrentNode(None)
    app.scene.Clear(False)
    app.panel.scene_changed()
    client.hold.set()
    app.until(lambda: not any(t.name == "otherwise-job" and t.is_alive() for t in threading.enumerate()))
    assert list(explanations.all_shown(app.scene)) == []
    assert not app.logic.busy


def test_a_volume_deleted_during_the_job_is_replaced_by_the_explanations_own_copy(
    app: PanelSession, volume: Any
) -> None:
    client = hold_a_job(app, volume)
    app.ui.volumeSelector.setCurrentNode(None)
    app.scene.RemoveNode(volume)
    client.hold.set()
    app.until(lambda: not app.logic.busy)
    (shown,) = explanations.all_shown(app.scene)
    assert shown.get("original") is not None


def test_the_main_thread_is_never_blocked_for_long(app: PanelSession, volume: Any) -> None:
    """Between two turns of the event loop while a job runs; showing the result is measured elsewhere."""
    app.connect()
    app.choose(volume)
    app.clients[-1].hold.clear()
    app.press("explainButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 2
    while time.perf_counter() < end:
        app.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    app.clients[-1].hold.set()
    app.until(lambda: not app.logic.busy)
    assert longest < 0.5, "a job waits somewhere on the main thread"


def test_ten_explanations_leave_no_threads_timers_or_nodes(app: PanelSession, volume: Any) -> None:
    app.connect()
    app.choose(volume)
    counts, hearing = [], len(app.logic.explained)
    for _ in range(10):
        app.press("explainButton")
        app.until(lambda: not app.logic.busy)
        app.press("removeButton")
        counts.append(app.scene.GetNumberOfNodes())
    assert len(set(counts[1:])) == 1
    assert not any(thread.name == "otherwise-job" for thread in threading.enumerate())
    assert len(app.logic.explained) == hearing


def test_an_explanation_that_runs_when_slicer_is_closed_is_taken_up_again(app: PanelSession, volume: Any) -> None:
    from OtherwiseLib.ui.application import QtTimer  # once the session has a Qt that it can be imported with

    client = hold_a_job(app, volume)
    assert app.settings[JOB] == f"{client.address} job"
    app.panel.close()
    app.until(lambda: not any(t.name == "otherwise-job" and t.is_alive() for t in threading.enumerate()))
    assert client.cancelled == [], "it goes on at the server"
    client.hold.set()
    again = Logic(app.scene, app.settings, QtTimer, lambda address, token: client, app.logic.update_frame)
    again.connect(client.address)
    app.until(lambda: not again.busy)
    again.resume()
    app.until(lambda: not again.busy)
    assert [shown.id for shown in explanations.all_shown(app.scene)] == ["made-up"]
    assert app.settings[JOB] == ""
    again.resume()
    assert not again.busy, "it has come"
    again.close()
