"""One job at a time: it runs on a thread, and its end is reported on the main thread."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable

from ..background.job import BackgroundJob, Cancel, Report, Timer, Work
from ..background.signal import Signal
from ..client.errors import ServerError


class JobRunner:
    """Run one job at a time.

    Signals: ``busy_changed(busy)``, ``progressed(stage, fraction)`` and, at the end of a job, ``failed(error)`` or
    ``cancelled()``, unless it ended well.

    Args:
        new_timer: Makes timers of the main thread.
    """

    def __init__(self, new_timer: Callable[[], Timer]) -> None:
        self.busy_changed, self.progressed = Signal(), Signal()
        self.failed, self.cancelled = Signal(), Signal()
        self._new_timer = new_timer
        self._job: BackgroundJob | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._job is not None

    def run(
        self,
        work: Work,
        done: Callable[[Any], None],
        cleanup: Callable[[], None] = lambda: None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Run a job, unless another one runs; ``failed`` or ``cancelled`` may follow.

        Args:
            work: Called on the job's thread.
            done: Called with its result on the main thread.
            cleanup: Called at the end, whatever the end.
            failed: Called with the error instead of the signal ``failed``, which is shown at the top of the panel.
        """
        if self._job is not None:
            cleanup()
            self.failed.emit(ServerError("busy", "Something else is running.", "Wait for it, or cancel it."))
            return
        job = BackgroundJob(work, self._new_timer())

        def end(emit: Callable[..., None]) -> Callable[..., None]:
            def ended(*values: Any) -> None:
                self._job = None
                self.busy_changed.emit(False)
                try:
                    emit(*values)
                except Exception as error:
                    self.failed.emit(error)
                finally:
                    cleanup()

            return ended

        job.progressed.connect(self.progressed.emit)
        job.finished.connect(end(done))
        job.failed.connect(end(failed or self.failed.emit))
        job.cancelled.connect(end(self.cancelled.emit))
        self._job = job
        self.busy_changed.emit(True)
        job.start()

    def run_in_folder(
        self,
        work: Callable[[Report, Cancel, Path], Any],
        done: Callable[[Any], None],
        cleanup: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a job with a folder of its own, which is deleted at the end; see ``run``."""
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")

        def end() -> None:
            folder.cleanup()
            cleanup()

        self.run(lambda report, cancel: work(report, cancel, Path(folder.name)), done, end)

    def cancel(self) -> None:
        """Stop the job; ``cancelled()`` follows."""
        if self._job is not None:
            self._job.cancel()

    def abandon(self, leave: bool = False) -> bool:
        """Stop the job without a signal of its end: the scene or the module is closing.

        Args:
            leave: Work that was begun on a server goes on there.

        Returns:
            Whether a job ran.
        """
        job, self._job = self._job, None
        if job is None:
            return False
        job.abandon(leave)
        self.busy_changed.emit(False)
        return True
