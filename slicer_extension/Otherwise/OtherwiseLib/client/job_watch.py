"""The newest state of a job on the server: by server-sent events, and by asking where none come.

A thread reads the events, since a read cannot be interrupted and a cancel must not wait for one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any

from ..background.job import Cancel
from .client import Client
from .errors import ServerError

LOOK_SECONDS = 0.05
"""Between two looks at what the thread has read."""
POLL_SECONDS = 0.25
"""Between two requests for the job, where the server sends no events."""
QUIET_SECONDS = 2.0
"""Without an event, after which the job is asked for all the same: a proxy may hold events back."""


class JobWatch:
    """Waits for the next state of a job.

    Args:
        client: The server.
        id: Id of the job.
    """

    def __init__(self, client: Client, id: str) -> None:
        self._client, self._id = client, id
        self._newest: deque[dict] = deque(maxlen=1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="otherwise-events", daemon=True)

    def __enter__(self) -> JobWatch:
        """Begin to read events."""
        self._thread.start()
        return self

    def __exit__(self, *_unused: Any) -> None:
        """Let the thread end with the next event, the last one or the server's sign of life."""
        self._closed.set()

    def next(self, cancel: Cancel) -> dict:
        """Wait for the next state of the job; without events, it may be the same once more.

        Raises:
            ServerError: if the server does not answer.
            JobCancelled: if cancelled.
        """
        begun = time.monotonic()
        while True:
            cancel.wait(LOOK_SECONDS)
            with contextlib.suppress(IndexError):
                return self._newest.popleft()
            patience = QUIET_SECONDS if self._thread.is_alive() else POLL_SECONDS
            if time.monotonic() - begun >= patience:
                return self._client.job(self._id)

    def _read(self) -> None:
        # Whatever is wrong with the events, the job is asked for instead, and that tells what is wrong with the server.
        with contextlib.suppress(ServerError):
            for job in self._client.events(self._id):
                self._newest.append(job)
                if self._closed.is_set():
                    return
