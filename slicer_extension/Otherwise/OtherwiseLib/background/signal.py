"""A signal without Qt: PythonQt has no ``qt.Signal``, and code connected this way is tested without Slicer."""

from __future__ import annotations

from typing import Any, Callable


class Signal:
    """Calls its slots in the order of connection, on the emitting thread."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Call ``slot`` on every emit; connecting twice calls it once."""
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Call it no more; unknown ones are ignored."""
        if slot in self._slots:
            self._slots.remove(slot)

    def clear(self) -> None:
        """Disconnect everybody."""
        self._slots.clear()

    def emit(self, *values: Any) -> None:
        """Call everybody who is connected now."""
        for slot in list(self._slots):
            slot(*values)

    def __len__(self) -> int:
        """How many are connected."""
        return len(self._slots)
