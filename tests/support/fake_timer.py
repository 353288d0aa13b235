"""A fake timer that leaks as PythonQt's does: while it is connected, it and its callbacks stay alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from PySide6 import QtCore


class FakeTimer(QtCore.QTimer):
    """A fake of ``qt.QTimer``; ``alive`` holds every timer that is connected and was not deleted."""

    alive: ClassVar[list[FakeTimer]] = []

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.slots: list[Callable[[], Any]] = []
        self.signal = super().timeout

    @property
    def timeout(self) -> Any:
        """The signal, as PythonQt gives it."""
        return self

    def connect(self, slot: Callable[[], Any]) -> None:
        """Call something on every turn; it stays alive until it is disconnected or the timer is deleted."""
        self.slots.append(slot)
        self.signal.connect(slot)
        if self not in FakeTimer.alive:
            FakeTimer.alive.append(self)

    def disconnect(self, slot: Callable[[], Any]) -> None:
        """Call it no more."""
        self.slots.remove(slot)
        self.signal.disconnect(slot)
        if not self.slots:
            self._let_go()

    def deleteLater(self) -> None:  # noqa: N802 - Qt's name
        """Delete it when the application is next idle."""
        self._let_go()
        super().deleteLater()

    def _let_go(self) -> None:
        if self in FakeTimer.alive:
            FakeTimer.alive.remove(self)
