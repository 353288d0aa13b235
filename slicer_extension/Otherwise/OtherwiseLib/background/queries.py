"""Questions to the server beside everything else: each kind on a job of its own, and the newest answer counts."""

from __future__ import annotations

from typing import Any, Callable

from .job import Job, Timer
from .signal import Signal

Heard = Callable[[Any], None]


class Queries:
    """Asks on threads, and hears the answers on the main thread.

    Args:
        new_timer: Makes timers of the main thread.
        failed: Told what nobody else wants to hear of.
    """

    def __init__(self, new_timer: Callable[[], Timer], failed: Signal) -> None:
        self._new_timer, self._failed = new_timer, failed
        self._jobs: dict[str, Job] = {}

    def is_open(self, kind: str) -> bool:
        """Whether a question of this kind waits for its answer."""
        return kind in self._jobs

    def ask(self, kind: str, work: Callable[[], Any], done: Heard, failed: Heard | None = None) -> None:
        """Do something on a thread; a newer question of the same kind makes an older one's answer unheard."""
        self.forget(kind)
        job = Job(lambda report, cancel: work(), self._new_timer())

        def end(emit: Heard) -> Heard:
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
        """Hear nothing of a question that waits for its answer."""
        job = self._jobs.pop(kind, None)
        if job is not None:
            job.abandon()

    def stop(self) -> None:
        """Hear of nothing any more."""
        for kind in list(self._jobs):
            self.forget(kind)
