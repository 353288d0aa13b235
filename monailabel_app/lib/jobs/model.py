"""One job as its client sees it, and the run behind it, which it may share with others."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError as DroppedError
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from lib.infers.task import TaskAnswer
from lib.jobs.spec import JobSpec
from lib.runtime.worker import WorkItem
from otherwise.errors import CancelledError, OtherwiseError

FINAL = ("done", "failed", "cancelled", "interrupted")
STATES = ("queued", "running", *FINAL)
LEAST_FRACTION = 0.05
"""Share of the work before which the remaining time is not estimated."""


LATE = "It was not done by its deadline."


class DeadlineError(OtherwiseError):
    """A deadline has passed."""

    code = "deadline"
    status = 504


@dataclass
class Progress:
    """How far a run is; written by the worker's thread, read by others."""

    stage: str = ""
    fraction: float = 0.0
    begun: float | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        """Record the stage and the share of the work that is done."""
        self.begun = self.begun or time.monotonic()
        self.stage, self.fraction = stage, max(self.fraction, min(1.0, fraction))

    def seconds_left(self) -> float | None:
        """Return an estimate by proportion; None while it is too early."""
        if self.begun is None or self.fraction < LEAST_FRACTION:
            return None
        spent = time.monotonic() - self.begun
        return round(spent * (1 - self.fraction) / self.fraction, 1)


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        state: One of ``FINAL``.
        error: ``{error, detail, hint}``, if it failed or was interrupted.
        result: The answer's JSON, if it is done.
    """

    state: str
    error: dict[str, str] | None = None
    result: dict[str, Any] | None = None

    @classmethod
    def failed(cls, error: OtherwiseError) -> JobResult:
        """Return the result of a job that failed for a known reason."""
        return cls("failed", {"error": error.code, "detail": error.detail, "hint": error.hint})

    @classmethod
    def interrupted(cls, detail: str) -> JobResult:
        """Return the result of a job that the server did not complete."""
        hint = "POST /otherwise/jobs/ID/repeat starts it again."
        return cls("interrupted", {"error": "interrupted", "detail": detail, "hint": hint})

    @classmethod
    def of(cls, future: Future[TaskAnswer], incident: str) -> tuple[JobResult, BaseException | None]:
        """Return the result of a run that has ended, and the error to log; None if there is none.

        Args:
            future: The run.
            incident: Name of an unexpected error in the log.
        """
        try:
            return cls("done", result=future.result().json), None
        except (CancelledError, DroppedError):
            return cls("cancelled"), None
        except OtherwiseError as error:
            return cls.failed(error), None
        except BaseException as error:
            error_fields = {"error": "internal", "detail": f"The server failed (job {incident})."}
            return cls("failed", {**error_fields, "hint": "Its log tells more under this number."}), error


@dataclass(eq=False)
class SharedRun:
    """One computation for all jobs that ask for the same.

    Attributes:
        key: See ``ResolvedJob.key``.
        progress: How far it is.
        wanted: The jobs that wait for it; without any it is stopped.
        item: Its place in the queue of the worker.
    """

    key: str
    progress: Progress = field(default_factory=Progress)
    wanted: list[Job] = field(default_factory=list)
    item: WorkItem[TaskAnswer] | None = None

    @property
    def running(self) -> bool:
        """Return whether it has started."""
        return (
            self.item is not None
            and not self.item.future.cancelled()
            and (self.item.future.running() or self.item.future.done())
        )


@dataclass(eq=False)
class Job:
    """One job as its client sees it.

    Attributes:
        id: Made by us.
        user: Who asked.
        created: ISO 8601 time with time zone.
        spec: The request.
        image: Id of the image, as clients see it.
        deadline: Time of the monotonic clock at which it fails.
        run: The run that it waits for; None before and after.
        progress: Progress of the run.
        result: None until it has ended.
        cached: Whether a stored explanation was the answer.
        ending: Whether its result is being written, so that no second result is accepted.
    """

    id: str
    user: str
    created: str
    spec: JobSpec
    image: str
    deadline: float
    run: SharedRun | None = None
    progress: Progress = field(default_factory=Progress)
    result: JobResult | None = None
    cached: bool = False
    ending: bool = False

    @property
    def state(self) -> str:
        """Return one of ``STATES``."""
        if self.result is not None:
            return self.result.state
        return "running" if self.run is not None and self.run.running else "queued"

    @property
    def finished(self) -> bool:
        """Return whether it has ended."""
        return self.result is not None

    @property
    def signature(self) -> tuple[object, ...]:
        """Return a value that changes with everything that listeners are sent."""
        return (self.state, self.progress.stage, round(self.progress.fraction, 3))

    def describe(self) -> dict[str, Any]:
        """Return the job as JSON; ``result`` is the JSON of the answer once the job is done."""
        result, progress = self.result or JobResult(self.state), self.progress
        return {
            "id": self.id,
            "user": self.user,
            "kind": self.spec.kind,
            "image": self.image,
            "created": self.created,
            "state": result.state,
            "stage": progress.stage,
            "fraction": 1.0 if result.state == "done" else round(progress.fraction, 3),
            "seconds_left": None if result.state in FINAL else progress.seconds_left(),
            "cached": self.cached,
            "error": result.error,
            "result": result.result,
        }
