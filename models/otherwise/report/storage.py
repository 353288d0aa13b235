"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otherwise.errors import OtherwiseError


class ReportError(OtherwiseError):
    """An explanation folder is missing, damaged, or would be overwritten."""

    code = "report"
    status = 409


class StorageError(OtherwiseError):
    """The disk is full, or the place cannot be written."""

    code = "storage"
    status = 507


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, which becomes ``path`` when the block ends well and vanishes when not.

    Raises:
        StorageError: for any ``OSError`` inside the block.
    """
    temporary = _beside(path)
    with _in_words(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
        finally:
            # A parent that is no folder must not hide the error that it already caused.
            if temporary.exists():
                temporary.unlink()


@contextmanager
def whole_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Give a new empty folder beside ``path``, which becomes ``path`` when the block ends well and vanishes when not.

    Args:
        path: The folder to make.
        replace: Whether an existing folder may be replaced; it stays as it is until the new one is complete.

    Raises:
        ReportError: if the folder exists and must not be replaced.
        StorageError: for any ``OSError`` inside the block.
    """
    if path.exists() and not replace:
        raise ReportError(f"There is already a folder {path}.", "Choose another id, or ask to replace it.")
    temporary, former = _beside(path), _beside(path)
    with _in_words(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if replace and path.exists():
                # No system renames a folder over a full one: the former folder steps aside, and back if anything fails.
                os.rename(path, former)
            try:
                os.rename(temporary, path)
            except OSError:
                if former.exists():
                    os.rename(former, path)
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            if path.exists():
                shutil.rmtree(former, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Make a name in the same folder that no other writer has."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn what the system says into one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}.", "Free some space or choose another folder."
        ) from error
