"""The worker: one thread, in order, with an end to every queue."""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import CancelledError as DroppedError
from typing import Any

import pytest

from otherwise.errors import CancelledError


@pytest.fixture
def worker_module(app_class: Any) -> Any:
    return importlib.import_module("lib.worker")


def test_jobs_run_in_order_on_one_thread(worker_module: Any) -> None:
    worker = worker_module.Worker("device")
    seen: list[tuple[int, str]] = []

    def note(number: int) -> None:
        seen.append((number, threading.current_thread().name))

    jobs = [worker.submit(lambda cancelled, number=number: note(number)) for number in range(5)]
    for job in jobs:
        job.future.result(10)
    worker.close()

    assert seen == [(number, "device") for number in range(5)]


def test_a_failed_job_belongs_to_who_asked_and_the_thread_lives_on(worker_module: Any) -> None:
    worker = worker_module.Worker("device")

    def fail(cancelled: Any) -> None:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        worker.submit(fail).future.result(10)
    assert worker.submit(lambda cancelled: "next").future.result(10) == "next"
    worker.close()


def test_too_many_are_refused_and_an_abandoned_one_is_never_begun(worker_module: Any) -> None:
    worker = worker_module.Worker("device", waiting=2)
    entered, go_on = threading.Event(), threading.Event()
    begun: list[str] = []

    def hold(cancelled: Any) -> None:
        entered.set()
        go_on.wait(10)

    first = worker.submit(hold)
    assert entered.wait(10)
    dropped, kept = (worker.submit(lambda cancelled, name=name: begun.append(name)) for name in ("dropped", "kept"))
    with pytest.raises(worker_module.BusyError):
        worker.submit(hold)

    dropped.abandon()
    go_on.set()
    first.future.result(10)
    kept.future.result(10)
    worker.close()
    assert begun == ["kept"]


def test_closing_stops_what_runs_and_drops_what_waits(worker_module: Any) -> None:
    worker = worker_module.Worker("device")
    entered = threading.Event()

    def until_cancelled(cancelled: Any) -> str:
        entered.set()
        while not cancelled():
            threading.Event().wait(0.005)
        return "stopped"

    running, waiting = worker.submit(until_cancelled), worker.submit(until_cancelled)
    assert entered.wait(10)
    worker.close(10)

    assert running.future.result(0) == "stopped"
    with pytest.raises(DroppedError):
        waiting.future.result(0)
    with pytest.raises(CancelledError):
        worker.submit(until_cancelled)
