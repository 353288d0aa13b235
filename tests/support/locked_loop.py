"""Event loops for tests: one that releases Python's lock while it waits, and one that keeps it, as Slicer's does.

Slicer's event loop is C++ and never releases the lock: a Python thread runs only while Python code runs on the main
thread, in a slot of a timer, say.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT_SECONDS = 0.004
"""Between two looks of a loop at its events."""
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
"""``QCoreApplication::processEvents`` in Qt's library on Linux."""
_usleep = ctypes.PyDLL(None).usleep
"""Sleeps without releasing the lock, which ``time.sleep`` does."""


class FreeLoop:
    """A loop that runs the application; other threads run while it waits.

    Attributes:
        turns: Seconds that each turn has taken.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self.turns: list[float] = []

    def until(self, good: Callable[[], bool], seconds: float) -> None:
        """Turn until something is so.

        Raises:
            AssertionError: if it is not so in time.
        """
        end = time.monotonic() + seconds
        while not good():
            assert time.monotonic() < end, "not in time"
            begun = time.perf_counter()
            self._turn()
            self.turns.append(time.perf_counter() - begun)
            self._wait()

    def _turn(self) -> None:
        self._application.processEvents()

    def _wait(self) -> None:
        time.sleep(WAIT_SECONDS)


class LockedLoop(FreeLoop):
    """A loop that runs the application; no other thread runs while it waits or while Qt handles events."""

    def __init__(self, application: Any) -> None:
        import PySide6

        super().__init__(application)
        # PySide6 gives the lock away around Qt's own call; called this way, nobody does.
        library = ctypes.PyDLL(str(Path(PySide6.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"))
        self._process = library[_PROCESS_EVENTS]
        self._process.argtypes = [ctypes.c_int]
        self._process.restype = None

    def _turn(self) -> None:
        self._process(0)

    def _wait(self) -> None:
        _usleep(int(1e6 * WAIT_SECONDS))
