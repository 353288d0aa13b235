"""Threads for requests that take long, apart from those that answer everything else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lib.runtime.worker import BusyError

T = TypeVar("T")

RETRY_SECONDS = 5


class WorkThreads:
    """A pool of threads with a bounded queue, in which nobody takes the places of others.

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
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], user: str) -> T:
        """Run work on one of the threads and return its result.

        Args:
            work: Called with the context variables of the request.
            user: Who asks.

        Raises:
            BusyError: if this user, or everybody together, has too many requests running or waiting.
        """
        self._enter(user)
        context = contextvars.copy_context()
        try:
            future = self._executor.submit(context.run, work)
        except BaseException:
            self._leave(user)
            raise
        # Also where the client has left: work that runs keeps its place until it ends.
        future.add_done_callback(lambda _: self._leave(user))
        return await asyncio.wrap_future(future)

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
