"""Work that runs beside the application: on a thread of its own, watched by a timer of the main thread.

Slicer's scene and Qt may be touched by the main thread only, and QThread is not safe from Python. So the thread does
HTTP and files and nothing else; what it has to tell waits in a queue until the main thread's timer asks.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, Callable, Protocol

from .signal import Signal

PUMP_MILLISECONDS = 10
"""Between two looks of the main thread at what the worker tells."""
YIELD_SECONDS = 0.008
"""At each look, for which the main thread gives Python's lock to the worker.

Slicer's event loop is C++ and keeps the lock while it waits, so that a thread runs only while Python runs on the main
thread. Without this pause the worker would stand still most of the time; a pause this short is not felt.
"""

Report = Callable[[str, float], None]
"""Told the stage and the share of the whole that is done."""


class Timer(Protocol):
    """What calls back on the main thread again and again: ``qt.QTimer`` in Slicer."""

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class JobCancelled(Exception):  # noqa: N818 - not an error
    """The work was cancelled."""


class JobLeft(JobCancelled):
    """Nobody waits for the work any more, but what it began on a server goes on there."""


class Cancel:
    """Says whether to stop, and wakes up whoever waits.

    Attributes:
        left: Whether what was begun elsewhere goes on.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.left = False

    def set(self, leave: bool = False) -> None:
        """Stop; with ``leave`` what was begun elsewhere goes on."""
        self.left = leave
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond a cancel.

        Raises:
            JobCancelled: at once when cancelled.
            JobLeft: likewise, where what was begun elsewhere goes on.
        """
        if self._event.wait(seconds):
            raise JobLeft if self.left else JobCancelled

    def check(self) -> None:
        """Raise ``JobCancelled`` if cancelled."""
        self.wait(0)

    @property
    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()


Work = Callable[[Report, Cancel], Any]


class Job:
    """One piece of work on a thread of its own.

    Exactly one of ``finished(result)``, ``failed(error)`` and ``cancelled()`` is emitted, on the thread of the timer,
    and before it any number of ``progressed(stage, fraction)``. After ``abandon`` nothing is emitted any more.

    Args:
        work: Called on the thread; must not touch Qt or the scene.
        timer: Of the main thread.
    """

    def __init__(self, work: Work, timer: Timer) -> None:
        self.progressed, self.finished, self.failed, self.cancelled = Signal(), Signal(), Signal(), Signal()
        self._timer = timer
        self._told: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._cancel = Cancel()
        self._over = False
        # The thread does not know this job: whoever lets go of it last would end the timer, and Qt, on that thread.
        self._thread = threading.Thread(
            target=_do, args=(work, self._told, self._cancel), name="otherwise-job", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._timer.start(PUMP_MILLISECONDS, self.pump)

    def cancel(self) -> None:
        """Ask it to stop; ``cancelled`` follows."""
        self._cancel.set()

    def abandon(self, leave: bool = False) -> None:
        """Stop it and hear nothing of it any more: the scene is closing, or the module.

        Args:
            leave: What it began on a server goes on there.
        """
        self._over = True
        self._timer.stop()
        for signal in (self.progressed, self.finished, self.failed, self.cancelled):
            signal.clear()
        self._cancel.set(leave)

    @property
    def running(self) -> bool:
        """Whether an end is still to be told."""
        return not self._over

    def join(self, seconds: float) -> bool:
        """Wait for the thread, for tests and for the end of the application; False if it is still running."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def pump(self) -> None:
        """Let the thread run for a moment, and emit what it has told; called by the timer."""
        if not self._over:
            time.sleep(YIELD_SECONDS)
        while not self._over:
            try:
                name, values = self._told.get_nowait()
            except queue.Empty:
                return
            if name != "progressed":
                self._over = True
                self._timer.stop()
            getattr(self, name).emit(*values)


def _do(work: Work, told: queue.SimpleQueue[tuple[str, tuple[Any, ...]]], cancel: Cancel) -> None:
    try:
        result = work(lambda stage, part: told.put(("progressed", (stage, part))), cancel)
    except JobCancelled:
        told.put(("cancelled", ()))
    except Exception as error:  # whatever it is belongs to who waits
        told.put(("cancelled", ()) if cancel.is_set else ("failed", (error,)))
    else:
        told.put(("finished", (result,)))
