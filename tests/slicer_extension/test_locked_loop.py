"""Jobs in a loop that keeps Python's lock while it waits, as Slicer's C++ event loop does, and what rounds leave."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.background.job import BackgroundJob  # noqa: E402
from support.locked_loop import FreeLoop, LockedLoop  # noqa: E402
from support.panel_session import PanelSession  # noqa: E402


def work(turns: int = 400) -> float:
    """What a thread does that sends and reads: much Python in many small steps, seconds it takes alone."""
    begun = time.perf_counter()
    for _ in range(turns):
        sum(range(20_000))
    return time.perf_counter() - begun


def seconds_of(loop: Any) -> float:
    """How long a job takes in a loop."""
    from OtherwiseLib.ui.application import QtTimer

    ended: list[float] = []
    job = BackgroundJob(lambda report, cancel: work(), QtTimer())
    job.finished.connect(ended.append)
    begun = time.perf_counter()
    job.start()
    loop.until(lambda: bool(ended), 60)
    return time.perf_counter() - begun


def test_a_job_is_hardly_slower_in_a_loop_that_keeps_the_lock(app: PanelSession) -> None:
    free, locked = seconds_of(FreeLoop(app.application)), seconds_of(LockedLoop(app.application))
    assert locked <= 4.0 * free, "with the timer of 50 ms, and without giving the lock, it was more than ten times"


def test_the_panel_explains_in_a_loop_that_keeps_the_lock(app: PanelSession, volume: Any) -> None:
    loop = LockedLoop(app.application)
    app.press("connectButton")
    loop.until(lambda: not app.logic.busy and app.ui.studyBox.count() == 2, 30)
    app.choose(volume)
    app.press("explainButton")
    loop.until(lambda: not app.logic.busy, 30)
    assert "would say benign" in app.ui.verdictLabel.text()
    assert max(loop.turns) < 0.5


@pytest.mark.long
def test_further_rounds_leave_no_node_timer_observer_or_thread(app: PanelSession, volume: Any) -> None:
    from support.fake_timer import FakeTimer

    app.connect()
    app.choose(volume)
    counts = []
    gc.freeze()  # only what the rounds make is searched for garbage
    for _ in range(8):
        app.press("explainButton")
        app.until(lambda: not app.logic.busy)
        app.ui.pathSlider.setValue(2)
        app.press("removeButton")
        gc.collect()
        display = volume.GetDisplayNode()
        counts.append(
            (
                app.scene.GetNumberOfNodes(),
                len(FakeTimer.alive),
                sum(thread.name == "otherwise-job" for thread in threading.enumerate()),
                display.HasObserver("ModifiedEvent"),
                len(app.logic.explained),
            )
        )
    gc.unfreeze()
    assert counts[1:] == counts[:-1]


def test_nothing_is_connected_to_the_widgets_after_the_panel_was_closed(app: PanelSession) -> None:
    """As after Reload: the old panel must not answer to the new one's buttons."""
    from support.fake_timer import FakeTimer

    app.panel.close()
    before = dict(app.settings)
    for name in ("connectButton", "refreshButton", "nextButton", "removeButton", "startServerButton"):
        getattr(app.ui, name).setEnabled(True)
        getattr(app.ui, name).click()
    app.ui.pathSlider.setValue(1)
    assert not app.logic.busy
    assert dict(app.settings) == before
    assert FakeTimer.alive == []
