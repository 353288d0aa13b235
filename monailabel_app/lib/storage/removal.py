"""Removal of several files: all of them, or none."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lib.storage.explanation_store import StorageError

SUFFIX = ".removed"
"""Ending of the hidden name that a file has until all of them can be deleted."""


def remove_all(files: Sequence[Path]) -> None:
    """Delete files; missing ones are passed over.

    Each gets a hidden name first, which a disk refuses for the same reasons as a removal. Where one is refused, the
    others get their names back.

    Raises:
        StorageError: if one cannot be removed; all are as they were then.
    """
    aside: list[tuple[Path, Path]] = []
    for file in dict.fromkeys(files):
        hidden = file.with_name(f".{uuid.uuid4().hex[:12]}{SUFFIX}")
        try:
            file.rename(hidden)
        except FileNotFoundError:
            continue
        except OSError as error:
            for name, there in reversed(aside):
                there.rename(name)
            raise StorageError(
                f"A file cannot be removed ({error.strerror}); nothing was removed.",
                "Let the server write to its folder, or remove it where the folder is kept.",
            ) from error
        aside.append((file, hidden))
    for _, hidden in aside:
        with suppress(OSError):
            hidden.unlink()
