"""What Slicer remembers between sessions, as the logic needs it."""

from __future__ import annotations

from typing import Protocol


class Settings(Protocol):
    """Values that outlive the application: ``QSettings`` in Slicer. No secret is ever put there."""

    def get(self, key: str, default: str) -> str:
        """Return a value."""

    def set(self, key: str, value: str) -> None:
        """Remember a value."""
