"""Jobs: the main thread never waits, exactly one end is told, and a cancel reaches the server within a second."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from OtherwiseLib.background.job import Cancel, Job, JobCancelled
from OtherwiseLib.background.signal import Signal
from OtherwiseLib.client import jobs
from OtherwiseLib.client.client import Client, ServerError

if TYPE_CHECKING:
    from conftest import BadServer, Served

CASE = "mammogram-31415-00001"


class HandTimer:
    """A timer that the test itself turns."""

    def __init__(self) -> None:
        self.callback: Callable[[], None] | None = None

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        self.callback = callback

    def stop(self) -> None:
        self.callback = None

    def turn(self) -> None:
        if self.callback is not None:
            self.callback()


def run(job: Job, timer: HandTimer, seconds: float = 120) -> list[tuple[str, Any]]:
    """Turn the timer until the job has told its end; everything it told."""
    told: list[tuple[str, Any]] = []
    for name in ("progressed", "finished", "failed", "cancelled"):
        getattr(job, name).connect(lambda *values, name=name: told.append((name, values)))
    job.start()
    end = time.monotonic() + seconds
    while job.running and time.monotonic() < end:
        timer.turn()
        job.join(0.02)
    timer.turn()
    return told


def test_signals_call_in_order_and_survive_a_slot_that_leaves() -> None:
    signal, heard = Signal(), []

    def once(value: int) -> None:
        heard.append(("once", value))
        signal.disconnect(once)

    signal.connect(once)
    signal.connect(lambda value: heard.append(("always", value)))
    signal.connect(once)
    signal.emit(1)
    signal.emit(2)
    assert heard == [("once", 1), ("always", 1), ("always", 2)]


def test_exactly_one_end_is_told_on_the_timers_thread() -> None:
    timer = HandTimer()
    threads: list[str] = []

    def work(report: Any, cancel: Cancel) -> int:
        threads.append(threading.current_thread().name)
        report("search", 0.5)
        return 7

    job = Job(work, timer)
    job.finished.connect(lambda result: threads.append(threading.current_thread().name))
    told = run(job, timer)
    assert told == [("progressed", ("search", 0.5)), ("finished", (7,))]
    assert threads == ["otherwise-job", threading.current_thread().name]
    assert timer.callback is None


def test_a_failure_is_told_with_its_error() -> None:
    def work(report: Any, cancel: Cancel) -> None:
        raise ServerError("busy", "Busy.")

    timer = HandTimer()
    ((name, (error,)),) = run(Job(work, timer), timer)
    assert (name, error.kind) == ("failed", "busy")


def test_an_abandoned_job_is_heard_of_no_more() -> None:
    timer = HandTimer()
    entered = threading.Event()

    def work(report: Any, cancel: Cancel) -> None:
        entered.set()
        cancel.wait(10)

    job = Job(work, timer)
    heard: list[str] = []
    job.cancelled.connect(lambda: heard.append("cancelled"))
    job.start()
    assert entered.wait(5)
    job.abandon()
    assert job.join(1)
    job.pump()
    assert heard == []
    assert not job.running
    assert timer.callback is None


def test_the_thread_never_is_the_last_to_let_go_of_the_timer() -> None:
    """Qt would be ended on the wrong thread; PySide6 stands still then, and Slicer may crash."""
    begun, go_on = threading.Event(), threading.Event()

    def work(report: Any, cancel: Cancel) -> None:
        begun.set()
        go_on.wait(20)

    timer = HandTimer()
    job = Job(work, timer)
    job.start()
    assert begun.wait(20)
    thread, gone = job._thread, weakref.ref(timer)
    timer.stop()
    del job, timer
    gc.collect()
    assert gone() is None
    assert thread.is_alive()
    go_on.set()
    thread.join(20)


def test_a_real_server_explains_what_is_sent_and_forgets_it(served: Served, tmp_path: Path) -> None:
    client, told = Client(served.url), []
    read = jobs.explain(
        client,
        tmp_path / "down",
        file=served.studies / f"{CASE}.nrrd",
        params={"seed": 1},
        report=lambda stage, part: told.append((stage, part)),
        cancel=Cancel(),
    )
    assert len(read.report) > 10_000
    assert read.volumes["effect"].voxels.shape == read.path[0].shape == (1, 96, 96)
    assert {"upload", "search", "download"} <= {stage for stage, _ in told}
    fractions = [part for _, part in told]
    assert fractions == sorted(fractions)
    assert client.pdf(read.content["id"], tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    path, about = jobs.attribute(
        client, tmp_path, read.content["id"], "grad-cam", report=lambda stage, part: None, cancel=Cancel()
    )
    assert (path.name, about["title"]) == ("attribution-grad-cam.nrrd", "Grad-CAM")
    answer = jobs.classify(client, image=CASE, report=lambda stage, part: None, cancel=Cancel())
    assert sum(score["score"] for score in answer["prediction"]) == pytest.approx(1)


@pytest.mark.timing
def test_a_cancel_reaches_the_server_within_a_second(served: Served, tmp_path: Path) -> None:
    client, cancel, running = Client(served.url), Cancel(), threading.Event()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            jobs.explain(client, tmp_path, image=CASE, report=lambda stage, part: running.set(), cancel=cancel)
        except JobCancelled as end:
            ended.append(end)

    thread = threading.Thread(target=work)
    thread.start()
    assert running.wait(20)
    begun = time.monotonic()
    cancel.set()
    thread.join(5)
    assert ended
    assert time.monotonic() - begun < 1
    end = time.monotonic() + 5
    while served.get("/otherwise/jobs").json()[0]["state"] not in ("cancelled", "done") and time.monotonic() < end:
        pass
    assert served.get("/otherwise/jobs").json()[0]["state"] == "cancelled"


def test_a_server_that_vanishes_in_the_middle_is_an_error(bad_server: BadServer, tmp_path: Path) -> None:
    states = iter(["queued", "running"])

    def answer(visit: Any) -> None:
        state = next(states, None)
        if state is None:
            visit.handler.connection.close()
        else:
            visit.json({"id": "j", "state": state, "fraction": 0.1})

    bad_server.on("/otherwise/jobs", answer)
    with pytest.raises(ServerError) as caught:
        jobs.explain(Client(bad_server.url), tmp_path, image="a", report=lambda stage, part: None, cancel=Cancel())
    assert caught.value.kind == "unreachable"


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_failed_job_brings_the_servers_words(bad_server: BadServer, state: str) -> None:
    error = {"error": "image", "detail": "It is constant.", "hint": "Choose another."}
    bad_server.on("/otherwise/jobs", lambda visit: visit.json({"id": "j", "state": state, "error": error}))
    with pytest.raises(ServerError, match=r"It is constant\. Choose another\."):
        jobs.classify(Client(bad_server.url), image="a", report=lambda stage, part: None, cancel=Cancel())
