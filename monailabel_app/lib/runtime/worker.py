"""One persistent thread per device: requests queue for it, and the server's event loop never waits."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lib.runtime.memory_pools import trimmer
from lib.runtime.queue import TaskQueue, Urgency
from lib.settings.options import WAITING, WAITING_PER_USER
from otherwise.errors import CancelledError, OtherwiseError

T = TypeVar("T")
Cancelled = Callable[[], bool]
"""Called between steps; returns true once nobody waits for the answer any more."""

REMEMBERED = 16
"""Jobs whose mean duration is the estimate for the next ones."""
FIRST_GUESS, LONGEST_GUESS = 10.0, 600.0


class BusyError(OtherwiseError):
    """Too many requests wait already.

    Attributes:
        retry_after: Seconds after which there may be room.
    """

    code = "busy"
    status = 429

    def __init__(self, detail: str, hint: str = "", retry_after: int = 60) -> None:
        super().__init__(detail, hint)
        self.retry_after = retry_after


@dataclass(frozen=True, eq=False)
class WorkItem(Generic[T]):
    """Work that has been handed to a worker.

    Attributes:
        work: Called on the worker's thread, with a function that says whether to stop early.
        user: Whose turn it takes.
        urgency: What it goes before.
        future: The answer to come.
    """

    work: Callable[[Cancelled], T]
    user: str = ""
    urgency: Urgency = Urgency.long
    future: Future[T] = field(default_factory=Future)
    _abandoned: threading.Event = field(default_factory=threading.Event)

    def abandon(self) -> None:
        """Drop queued work, or ask running work to stop: nobody waits for it any more."""
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
    """A thread that does one job after the other; users take turns.

    One thread, and always the same one: cuDNN keeps its plans per thread, and two explanations at once on one device
    would only slow each other down.

    Args:
        name: Name of the thread, shown in the log.
        waiting: How many jobs may wait; more are refused.
        waiting_per_user: How many of one user may.
    """

    def __init__(self, name: str, waiting: int = WAITING, waiting_per_user: int = WAITING_PER_USER) -> None:
        self.limit, self.limit_per_user = waiting, waiting_per_user
        self._waiting: TaskQueue[WorkItem[Any]] = TaskQueue()
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._running = threading.Event()
        # A daemon, so that Ctrl-C ends the server at once and not after the explanation that happens to run.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(
        self,
        work: Callable[[Cancelled], T],
        urgent: bool = False,
        *,
        user: str = "",
        interactive: bool = False,
        between: bool = False,
        promised: bool = False,
    ) -> WorkItem[T]:
        """Queue a job.

        Args:
            work: Called on the worker's thread, with a function that says whether to stop early.
            urgent: It is short, and belongs to the server itself: taken however many wait, and first.
            user: Whose it is; empty: the server's own.
            interactive: It is short, and goes before longer work of whomever.
            between: It is short, and belongs to the server itself: taken however many wait, after all these and
                before all that come later.
            promised: It was accepted before, by a server that has since been started anew: taken however many wait.

        Raises:
            BusyError: if too many jobs wait already.
            CancelledError: if the worker is closed.
        """
        own = Urgency.first if urgent else Urgency.between if between else None
        job = WorkItem(work, user, own or (Urgency.interactive if interactive else Urgency.long))
        with self._news:
            if not (own or promised):
                self._refuse_if_full(user)
            elif self._closing.is_set():
                raise _closed()
            self._waiting.put(job, user, job.urgency)
            self._news.notify()
        # A place in the queue is free again as soon as nobody wants what waits there.
        job.future.add_done_callback(lambda future: self._leave(job) if future.cancelled() else None)
        return job

    def refuse_if_full(self, user: str) -> None:
        """Refuse what ``submit`` would refuse now.

        Raises:
            BusyError: if too many jobs wait already.
            CancelledError: if the worker is closed.
        """
        with self._news:
            self._refuse_if_full(user)

    @property
    def running(self) -> bool:
        """Return whether a job runs."""
        return self._running.is_set()

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        with self._news:
            return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Return whether jobs are accepted."""
        return self._thread.is_alive() and not self._closing.is_set()

    def close(self, timeout: float = 10.0) -> None:
        """Drop what waits, ask what runs to stop, and wait for the thread at most ``timeout`` seconds."""
        with self._news:
            self._closing.set()
            dropped = list(self._waiting)
            self._news.notify()
        for job in dropped:
            job.abandon()
        self._thread.join(timeout)

    def _refuse_if_full(self, user: str) -> None:
        if self._closing.is_set():
            raise _closed()
        typical = sum(self._seconds) / len(self._seconds) if self._seconds else FIRST_GUESS
        # Whoever has nothing waiting is let in beyond the limit: others' jobs must not keep a newcomer out.
        if len(self._waiting) >= self.limit and (self._waiting.of(user) or len(self._waiting) >= 2 * self.limit):
            # Whenever a job ends, there is room for one.
            raise _busy(f"{self.limit} requests wait already.", typical)
        if self._waiting.of(user) >= self.limit_per_user:
            # Whenever everybody has had a turn, there is.
            raise _busy(f"{self.limit_per_user} requests of yours wait already.", typical * self._waiting.users)

    def _leave(self, job: WorkItem[Any]) -> None:
        with self._news:
            self._waiting.remove(job, job.user)

    def _loop(self) -> None:
        trim = trimmer()
        while (job := self._next()) is not None:
            begun = time.monotonic()
            self._running.set()
            try:
                job.run(self._closing.is_set)
            finally:
                self._running.clear()
            if job.urgency is Urgency.long:
                if not job.future.cancelled():
                    self._seconds.append(time.monotonic() - begun)
                trim()  # 20 ms after a second of work at least

    def _next(self) -> WorkItem[Any] | None:
        with self._news:
            while not self._closing.is_set():
                job = self._waiting.take()
                if job is not None:
                    return job
                self._news.wait()
        return None


def _closed() -> CancelledError:
    return CancelledError("The server is shutting down.", "Try again once it is back.")


def _busy(detail: str, seconds: float) -> BusyError:
    retry_after = math.ceil(min(max(seconds, 1.0), LONGEST_GUESS))
    return BusyError(detail, f"Try again in {retry_after} s.", retry_after)
