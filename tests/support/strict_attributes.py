"""Refuse what PythonQt refuses: an attribute that the class of a widget does not have.

PySide6 reads properties as attributes in this module only, so that it sees what the extension sees.
"""

from __future__ import annotations

from typing import Any


class Strict:
    """A base class that refuses attributes which the class does not have."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        super().__setattr__(name, value)
