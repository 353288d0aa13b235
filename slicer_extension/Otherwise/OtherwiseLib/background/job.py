"""Work that runs beside the application: on a thread of its own, watched by a timer of the main thread.

Only the main thread may touch Slicer's scene and Qt, and QThread is not safe from Python. So the thread does HTTP and
files and nothing else; its messages wait in a queue for the main thread's timer.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Any, Callable, Protocol

from .signal import Signal

PUMP_MILLISECONDS = 10
"""Between two looks of the main thread at the worker's messages."""
YIELD_SECONDS = 0.008
"""Pause of the main thread at each look, in which the worker has Python's lock.

Slicer's event loop is C++ and keeps the lock while it waits, so a thread runs only while Python runs on the main
thread. Without this pause the worker would stand still most of the time. Nobody feels a pause this short.
"""

Report = Callable[[str, float], None]
"""Called with the stage and the fraction of the whole that is done."""


class Timer(Protocol):
    """A repeating timer of the main thread: ``qt.QTimer`` in Slicer."""

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Start to call ``callback`` at this interval."""

    def stop(self) -> None:
        """Call back no more."""


class JobCancelled(Exception):  # noqa: N818 - not an error
    """The work was cancelled."""


class JobLeft(JobCancelled):
    """The work was left: what it began on a server goes on there."""


class Cancel:
    """A request to stop, which wakes up a waiting thread.

    Attributes:
        left: Whether work that was begun on a server goes on.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.left = False

    def set(self, leave: bool = False) -> None:
        """Request a stop; with ``leave``, work that was begun on a server goes on."""
        self.left = leave
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or a stop is requested.

        Raises:
            JobCancelled: as soon as a stop is requested.
            JobLeft: likewise, for a stop with ``leave``.
        """
        if self._event.wait(seconds):
            raise JobLeft if self.left else JobCancelled

    def check(self) -> None:
        """Raise ``JobCancelled`` if cancelled."""
        self.wait(0)

    @property
    def is_set(self) -> bool:
        """Whether a stop is requested."""
        return self._event.is_set()


Work = Callable[[Report, Cancel], Any]


class BackgroundJob:
    """Work on a thread of its own.

    Exactly one of ``finished(result)``, ``failed(error)`` and ``cancelled()`` is emitted, on the thread of the timer,
    and before it any number of ``progressed(stage, fraction)``. After ``abandon`` nothing is emitted any more.

    Args:
        work: Called on the thread; must not touch Qt or the scene.
        timer: A timer of the main thread.
    """

    def __init__(self, work: Work, timer: Timer) -> None:
        self.progressed, self.finished, self.failed, self.cancelled = Signal(), Signal(), Signal(), Signal()
        self._timer = timer
        self._messages: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._cancel = Cancel()
        self._over = False
        # The thread holds no reference to this job: if it were the last one, the timer would be deleted on the thread.
        self._thread = threading.Thread(
            target=_do, args=(work, self._messages, self._cancel), name="otherwise-job", daemon=True
        )

    def start(self) -> None:
        """Start the thread and the timer."""
        self._thread.start()
        self._timer.start(PUMP_MILLISECONDS, self.pump)

    def cancel(self) -> None:
        """Request a stop; ``cancelled`` follows."""
        self._cancel.set()

    def abandon(self, leave: bool = False) -> None:
        """Request a stop and emit no more signals: the scene or the module is closing.

        Args:
            leave: Work that was begun on a server goes on there.
        """
        self._over = True
        self._timer.stop()
        for signal in (self.progressed, self.finished, self.failed, self.cancelled):
            signal.clear()
        self._cancel.set(leave)

    @property
    def running(self) -> bool:
        """Whether the end has not been emitted yet."""
        return not self._over

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end, and return whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def pump(self) -> None:
        """Let the thread run for a moment, and emit its messages; called by the timer."""
        if not self._over:
            time.sleep(YIELD_SECONDS)
        while not self._over:
            try:
                name, values = self._messages.get_nowait()
            except queue.Empty:
                return
            if name != "progressed":
                self._over = True
                self._timer.stop()
            getattr(self, name).emit(*values)


def _do(work: Work, messages: queue.SimpleQueue[tuple[str, tuple[Any, ...]]], cancel: Cancel) -> None:
    try:
        result = work(lambda stage, part: messages.put(("progressed", (stage, part))), cancel)
    except JobCancelled:
        messages.put(("cancelled", ()))
    except Exception as error:  # whatever it is, the caller gets it
        messages.put(("cancelled", ()) if cancel.is_set else ("failed", (error,)))
    else:
        messages.put(("finished", (result,)))
