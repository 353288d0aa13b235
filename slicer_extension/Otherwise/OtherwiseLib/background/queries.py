"""Questions to the server, each kind on a job of its own; only the newest answer of a kind counts."""

from __future__ import annotations

from typing import Any, Callable

from .job import BackgroundJob, Timer
from .signal import Signal

Callback = Callable[[Any], None]


class Queries:
    """Send questions on threads, and deliver the answers on the main thread.

    Args:
        new_timer: Makes timers of the main thread.
        failed: Emitted with errors for which a question has no callback of its own.
    """

    def __init__(self, new_timer: Callable[[], Timer], failed: Signal) -> None:
        self._new_timer, self._failed = new_timer, failed
        self._jobs: dict[str, BackgroundJob] = {}

    def is_open(self, kind: str) -> bool:
        """Return whether a question of this kind waits for its answer."""
        return kind in self._jobs

    def ask(self, kind: str, work: Callable[[], Any], done: Callback, failed: Callback | None = None) -> None:
        """Ask a question; an older one of the same kind is forgotten.

        Args:
            kind: Any name.
            work: Called on a thread; returns the answer.
            done: Called with the answer on the main thread.
            failed: Called with the error; None: the signal ``failed`` is emitted.
        """
        self.forget(kind)
        job = BackgroundJob(lambda report, cancel: work(), self._new_timer())

        def end(emit: Callback) -> Callback:
            def ended(value: Any) -> None:
                self._jobs.pop(kind, None)
                try:
                    emit(value)
                except Exception as error:
                    self._failed.emit(error)

            return ended

        job.finished.connect(end(done))
        job.failed.connect(end(failed or self._failed.emit))
        self._jobs[kind] = job
        job.start()

    def forget(self, kind: str) -> None:
        """Drop the question of this kind that waits for its answer."""
        job = self._jobs.pop(kind, None)
        if job is not None:
            job.abandon()

    def stop(self) -> None:
        """Drop every question."""
        for kind in list(self._jobs):
            self.forget(kind)
