"""Signal connections that are undone together: none of a panel's connections may live on after a reload."""

from __future__ import annotations

from typing import Any, Callable


class Connections:
    """The connections of a panel, of Qt's signals and of our own."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a signal."""
        signal.connect(slot)
        self._made.append((signal, slot))

    def close(self) -> None:
        """Disconnect all of them, the last first."""
        while self._made:
            signal, slot = self._made.pop()
            signal.disconnect(slot)
