"""Names of a file system that no program can show, and links that lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path


def is_file(item: os.DirEntry[str] | Path) -> bool:
    """Return whether it is a file, or a link that leads to one."""
    try:
        return item.is_file()
    except OSError:  # a link that leads to itself
        return False


def is_utf8(name: str) -> bool:
    """Return whether a name of the file system is UTF-8; Python keeps other bytes as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    """Return a name of the file system with a replacement character for what is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")
