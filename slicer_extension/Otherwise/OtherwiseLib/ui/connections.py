"""Connections that can be undone together: what a panel connected must not live on after a reload."""

from __future__ import annotations

from typing import Any, Callable


class Connections:
    """Remembers which slot was connected to which signal, of Qt or of our own."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a signal."""
        signal.connect(slot)
        self._made.append((signal, slot))

    def close(self) -> None:
        """Disconnect everything, the last first."""
        while self._made:
            signal, slot = self._made.pop()
            signal.disconnect(slot)
