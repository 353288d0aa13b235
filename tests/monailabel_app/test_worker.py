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
    return importlib.import_module("lib.runtime.worker")


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


@pytest.fixture
def held(worker_module: Any) -> Any:
    """A worker of few places whose thread is kept busy until the event is set."""
    worker = worker_module.Worker("device", waiting=4, waiting_per_user=3)
    entered, go_on = threading.Event(), threading.Event()

    def hold(cancelled: Any) -> None:
        entered.set()
        go_on.wait(10)

    worker.submit(hold)
    assert entered.wait(10)
    yield worker, go_on
    go_on.set()
    worker.close()


def test_users_take_turns_and_short_work_goes_first(held: Any) -> None:
    worker, go_on = held
    done: list[str] = []

    def note(name: str) -> Any:
        return lambda cancelled: done.append(name)

    jobs = [worker.submit(note(f"anna {number}"), user="anna") for number in range(3)]
    jobs.append(worker.submit(note("ben"), user="ben"))
    jobs.append(worker.submit(note("models"), urgent=True))
    jobs.append(worker.submit(note("look"), user="cleo", interactive=True, promised=True))
    go_on.set()
    for job in jobs:
        job.future.result(10)

    assert done == ["models", "look", "anna 0", "ben", "anna 1", "anna 2"]


def test_what_comes_between_is_after_all_that_waited_and_before_all_that_came_later(held: Any) -> None:
    worker, go_on = held
    done: list[str] = []

    def note(name: str) -> Any:
        return lambda cancelled: done.append(name)

    jobs = [worker.submit(note("before"), user="anna") for _ in range(2)]
    jobs.append(worker.submit(note("change"), between=True))
    given_up = worker.submit(note("given up"), between=True)
    jobs.append(worker.submit(note("glance"), user="ben", interactive=True, promised=True))
    jobs.append(worker.submit(note("stop"), urgent=True))
    given_up.abandon()
    assert worker.waiting == 5
    go_on.set()
    for job in jobs:
        job.future.result(10)

    assert done == ["stop", "before", "before", "change", "glance"]


def test_long_work_has_its_turn_however_much_short_work_comes(held: Any) -> None:
    worker, go_on = held
    done: list[str] = []

    def glance(number: int) -> None:
        done.append("glance")
        if number < 20:
            worker.submit(lambda cancelled: glance(number + 1), user="anna", interactive=True)

    long = worker.submit(lambda cancelled: done.append("long"), user="ben")
    worker.submit(lambda cancelled: glance(0), user="anna", interactive=True)
    go_on.set()
    long.future.result(10)

    assert done.index("long") == importlib.import_module("lib.runtime.queue").IN_A_ROW


def test_one_user_cannot_take_all_places_and_is_told_when_to_come_back(held: Any, worker_module: Any) -> None:
    worker, _ = held
    jobs = [worker.submit(lambda cancelled: None, user="anna") for _ in range(3)]
    with pytest.raises(worker_module.BusyError) as of_user:
        worker.submit(lambda cancelled: None, user="anna")
    worker.submit(lambda cancelled: None, user="ben")
    with pytest.raises(worker_module.BusyError) as of_all:
        worker.refuse_if_full("ben")
    worker.refuse_if_full("cleo")  # A newcomer is let in, whatever the others have waiting.

    for caught in (of_user, of_all):
        assert caught.value.status == 429
        assert 1 <= caught.value.retry_after <= 600
        assert f"{caught.value.retry_after} s" in caught.value.hint
    jobs[1].abandon()
    assert worker.waiting == 3, "what nobody wants leaves its place at once"
    worker.submit(lambda cancelled: None, user="anna")


def test_what_somebody_waits_for_at_a_picture_goes_before_explanations(worker_module: Any) -> None:
    on_worker = importlib.import_module("lib.teaching.unit_statistics").on_worker
    worker = worker_module.Worker("device")
    entered, go_on, done = threading.Event(), threading.Event(), list[str]()

    def hold(cancelled: Any) -> None:
        entered.set()
        go_on.wait(10)

    worker.submit(hold)
    assert entered.wait(10)
    explanation = worker.submit(lambda cancelled: done.append("explanation"))
    query = threading.Thread(
        target=on_worker,
        args=(worker, lambda: done.append("query"), lambda seconds: False),
        kwargs={"interactive": True},
    )
    query.start()
    while worker.waiting < 2:
        pass
    go_on.set()
    query.join(10)
    explanation.future.result(10)
    worker.close()

    assert done == ["query", "explanation"]
