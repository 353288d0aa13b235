"""One persistent thread per device: requests queue for it, and the server's event loop never waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from otherwise.errors import CancelledError, OtherwiseError

T = TypeVar("T")
Cancelled = Callable[[], bool]
"""Asked between steps: True once nobody waits for the answer any more."""


class BusyError(OtherwiseError):
    """Too many requests wait already."""

    code = "busy"
    status = 503


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """Work that has been handed to a worker.

    Attributes:
        work: Called on the worker's thread, with a function that says whether to stop early.
        future: The answer to come.
    """

    work: Callable[[Cancelled], T]
    future: Future[T] = field(default_factory=Future)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    def abandon(self) -> None:
        """Say that nobody waits any more: queued work is dropped, running work is asked to stop."""
        self._abandoned.set()
        self.future.cancel()

    def run(self, closing: Cancelled) -> None:
        """Do the work here and now, unless it was abandoned."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work(lambda: self._abandoned.is_set() or closing()))
        except BaseException as error:
            # Whatever happens belongs to whoever waits; the thread must outlive it.
            self.future.set_exception(error)


class Worker:
    """A thread that does one job after the other.

    One thread, and always the same one: cuDNN keeps its plans per thread, and two explanations at once on one device
    would only slow each other down.

    Args:
        name: Name of the thread, shown in the log.
        waiting: How many jobs may wait; more are refused.
    """

    def __init__(self, name: str, waiting: int = 16) -> None:
        self.limit = waiting
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._closing = threading.Event()
        self._running = threading.Event()
        # A daemon, so that Ctrl-C ends the server at once and not after the explanation that happens to run.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Cancelled], T], urgent: bool = False) -> Job[T]:
        """Queue a job.

        Args:
            work: Called on the worker's thread, with a function that says whether to stop early.
            urgent: It is short, and belongs to the server itself: taken however many wait.

        Raises:
            BusyError: if too many jobs wait already.
            CancelledError: if the worker is closed.
        """
        job = Job(work)
        with self._door:
            if self._closing.is_set():
                raise CancelledError("The server is shutting down.", "Try again once it is back.")
            if self.waiting >= self.limit and not urgent:
                raise BusyError(f"{self.limit} requests wait already.", "Try again in a minute.")
            self._queue.put(job)
        return job

    @property
    def running(self) -> bool:
        """Whether a job is being done."""
        return self._running.is_set()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self._queue.qsize()

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._thread.is_alive() and not self._closing.is_set()

    def close(self, timeout: float = 10.0) -> None:
        """Drop what waits, ask what runs to stop, and wait for the thread at most ``timeout`` seconds."""
        with self._door:
            self._closing.set()
            self._queue.put(None)
        self._thread.join(timeout)

    def _loop(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._closing.is_set():
                job.abandon()
                continue
            self._running.set()
            try:
                job.run(self._closing.is_set)
            finally:
                self._running.clear()
