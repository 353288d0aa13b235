"""Threads for requests that take long, apart from those that answer everything else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from lib.runtime.queue import FairQueue
from lib.runtime.worker import BusyError

T = TypeVar("T")

RETRY_SECONDS = 5


class WorkThreads:
    """A pool of threads with a bounded queue, in which users take turns.

    The event loop's own pool answers short requests. One that waits for memory, for the device or for a picture to be
    drawn would take a thread of it for a long time, and few such requests would stop the server.

    Args:
        name: Of the threads.
        threads: How many.
        per_user: Requests of one user that run or wait at the same time; more are refused.
        waiting: Requests of all users that wait. Beyond it only users who have none running or waiting are let in.
    """

    def __init__(self, name: str, threads: int, per_user: int, waiting: int = 64) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most, self.per_user = threads + waiting, per_user
        self._users: Counter[str] = Counter()
        self._waiting: FairQueue[tuple[Future[Any], Callable[[], Any]]] = FairQueue()
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], user: str) -> T:
        """Run work on one of the threads and return its result.

        Args:
            work: Called with the context variables of the request.
            user: The user whose turn it takes.

        Raises:
            BusyError: if this user, or everybody together, has too many requests running or waiting.
        """
        future: Future[T] = Future()
        self._enter(user)
        # Also if the client has disconnected: running work keeps its place until it ends.
        future.add_done_callback(lambda _: self._leave(user))
        context = contextvars.copy_context()
        with self._lock:
            self._waiting.put(user, (future, partial(context.run, work)))
        self._executor.submit(self._run_next)
        return await asyncio.wrap_future(future)

    def _run_next(self) -> None:
        """Run the next item of the user whose turn it is."""
        with self._lock:
            next = self._waiting.take()
        assert next is not None, "there is one for each call"
        future, work = next
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
            del future, work  # the error refers to this frame, which would keep alive what was read

    def _enter(self, user: str) -> None:
        with self._lock:
            mine = self._users[user]
            if mine >= self.per_user or (mine and self._users.total() >= self._most):
                raise BusyError(
                    f"{mine} requests of this kind are being answered for you already.",
                    f"Try again in {RETRY_SECONDS} s.",
                    RETRY_SECONDS,
                )
            self._users[user] += 1

    def _leave(self, user: str) -> None:
        with self._lock:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
