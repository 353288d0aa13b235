"""Write files and folders so that they appear complete or not at all."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from otherwise.errors import OtherwiseError


class WriteError(OtherwiseError):
    """A file or folder cannot be written."""

    code = "write"
    status = 507


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``, which is renamed to ``target`` when the block succeeds.

    The temporary name ends as the target's does (``.nii.gz``, ``.seg.nrrd``), since writers choose a format by it.
    Missing parent folders are made. When the block fails, or is interrupted, the temporary file is removed and an older
    file of the target's name is left as it was.

    Raises:
        WriteError: if the disk is full, the folder is not writable, or any other OSError comes from the block.
    """
    yield from _lend(Path(target), _remove, _replace_file)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target``, which is renamed to ``target`` when the block succeeds.

    An older folder of that name is replaced as a whole. Otherwise like :func:`atomic_path`.

    Raises:
        WriteError: as :func:`atomic_path`.
    """
    yield from _lend(Path(target), _make_folder, _replace_folder)


def is_occupied(path: Path) -> bool:
    """Return whether a new folder of this name would meet a file, or a folder that holds something."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _lend(target: Path, prepare: Callable[[Path], None], finish: Callable[[Path, Path], None]) -> Iterator[Path]:
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prepare(temporary)
        yield temporary
        finish(temporary, target)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the original error is more informative
            path.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    path.mkdir()


def _replace_file(temporary: Path, target: Path) -> None:
    temporary.replace(target)


def _replace_folder(temporary: Path, target: Path) -> None:
    """Replace an old folder by the new one; no system renames onto a folder that is not empty."""
    old = temporary.with_name(f"{temporary.name}.old")
    if target.exists():
        target.replace(old)
    try:
        temporary.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise
    _remove(old)


def _explain(error: OSError, target: Path) -> WriteError:
    hints = {
        errno.ENOSPC: "Free some disk space and try again.",
        errno.EDQUOT: "Free some disk space and try again.",
        errno.EACCES: "Choose a folder that you may write to.",
        errno.EPERM: "Choose a folder that you may write to.",
        errno.EROFS: "Choose a folder that you may write to.",
    }
    reason = error.strerror or str(error).partition("\n")[0] or "input/output error"
    hint = hints.get(error.errno or 0, "Check the folder and try again.")
    return WriteError(f"{target.name} cannot be written: {reason}.", hint)
