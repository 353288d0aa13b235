"""The lock of the state folder: a second server would take the first one's jobs for interrupted and repeat them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from lib.storage.explanation_store import StorageError
from otherwise.errors import OtherwiseError

FILE_NAME = ".server.lock"


class InUseError(OtherwiseError):
    """Another server uses the state folder."""

    code = "in-use"
    status = 503


def close_to_others(state: Path) -> None:
    """Remove the rights of other users of the machine on the state folder, which holds patients' images.

    Rights of the group stay, since administrators share folders by them. On Windows nothing is done.
    """
    if os.name == "posix":
        mode = stat.S_IMODE(state.stat().st_mode)
        if mode & stat.S_IRWXO:
            state.chmod(mode & ~stat.S_IRWXO)


def lock_state_folder(state: Path) -> FileLock:
    """Lock a state folder for this process until it ends or releases the lock.

    The app may be made again in the same process (``/reload``): each lets go once.

    Raises:
        InUseError: if another process has it.
        StorageError: if it cannot be written.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        close_to_others(state)
        lock = FileLock(state.resolve() / FILE_NAME, timeout=0, thread_local=False, is_singleton=True)
        lock.acquire()
    except Timeout:
        raise InUseError(
            f"Another server keeps its state in {state}.", "Stop it, or give this one a folder of its own as state."
        ) from None
    except OSError as error:
        raise StorageError(
            f"The state folder {state} cannot be written ({error.strerror}).", "Give another one as state."
        ) from error
    return lock
