"""Work that a client asks for, watches, and fetches later: what waits, what runs, what came out."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lib.infers.task import Answer, HostedTask, Source
from lib.store import NotFoundError
from lib.worker import Job
from otherwise.errors import CancelledError, OtherwiseError

logger = logging.getLogger(__name__)

KEPT = 256
"""Finished jobs that are remembered; the oldest are forgotten first, their explanations stay."""
LEAST_FRACTION = 0.05
"""Before this much is done, nobody can tell how long the rest takes."""


@dataclass
class Progress:
    """How far a running job is; written by the worker's thread, read by others."""

    stage: str = ""
    fraction: float = 0.0
    begun: float | None = None
    ended: float | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        """Take note."""
        self.begun = self.begun or time.monotonic()
        self.stage, self.fraction = stage, max(self.fraction, min(1.0, fraction))

    def seconds_left(self) -> float | None:
        """A guess by proportion; None while it is too early."""
        if self.begun is None or self.fraction < LEAST_FRACTION:
            return None
        spent = time.monotonic() - self.begun
        return round(spent * (1 - self.fraction) / self.fraction, 1)


@dataclass(frozen=True, eq=False)
class Request:
    """One job as its client sees it.

    Attributes:
        id: Made by us.
        kind: Name of the task.
        image: Id of the image.
        created: ISO 8601 time with time zone.
        job: Where it runs.
        progress: How far it is.
    """

    id: str
    kind: str
    image: str
    created: str
    job: Job[Answer]
    progress: Progress

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``."""
        future = self.job.future
        if future.cancelled():
            return "cancelled"
        if not future.done():
            return "running" if future.running() else "queued"
        error = future.exception()
        return "done" if error is None else "cancelled" if isinstance(error, CancelledError) else "failed"

    def describe(self) -> dict[str, Any]:
        """The job as JSON; ``result`` is the answer's own JSON once it is done."""
        state = self.state
        finished = state in ("done", "failed", "cancelled")
        return {
            "id": self.id,
            "kind": self.kind,
            "image": self.image,
            "created": self.created,
            "state": state,
            "stage": self.progress.stage,
            "fraction": 1.0 if state == "done" else round(self.progress.fraction, 3),
            "seconds_left": None if finished else self.progress.seconds_left(),
            "error": self._error() if state == "failed" else None,
            "result": self.job.future.result().json if state == "done" else None,
        }

    def _error(self) -> dict[str, str]:
        error = self.job.future.exception()
        if isinstance(error, OtherwiseError):
            return {"error": error.code, "detail": error.detail, "hint": error.hint}
        logger.error("Job %s failed", self.id, exc_info=error)
        detail = f"The server failed (job {self.id})."
        return {"error": "internal", "detail": detail, "hint": "Its log tells more under this number."}


@dataclass
class Jobs:
    """The jobs of a server, by id.

    Attributes:
        kept: See ``KEPT``.
    """

    kept: int = KEPT
    _requests: dict[str, Request] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, kind: str, task: HostedTask, source: Source, arguments: dict[str, Any], user: str) -> Request:
        """Queue a job.

        Raises:
            OtherwiseError: if the image cannot be used, or too many jobs wait.
        """
        task.host.worker.refuse_if_full(user)
        progress = Progress()
        job = task.submit(task.read(source), arguments, user, progress)
        request = Request(
            uuid.uuid4().hex, kind, source.id, datetime.now(UTC).isoformat(timespec="seconds"), job, progress
        )
        with self._lock:
            self._requests[request.id] = request
            finished = [id for id, old in self._requests.items() if old.job.future.done()]
            for id in finished[: max(0, len(finished) - self.kept)]:
                del self._requests[id]
        return request

    def find(self, id: str) -> Request:
        """Find a job.

        Raises:
            NotFoundError: if there is none of this id, any more or at all.
        """
        with self._lock:
            request = self._requests.get(id)
        if request is None:
            raise NotFoundError(f"There is no job {id[:64]!r}.", "POST /otherwise/jobs starts one; old ones expire.")
        return request

    def list(self) -> list[Request]:
        """All jobs, the newest first."""
        with self._lock:
            return list(reversed(self._requests.values()))
