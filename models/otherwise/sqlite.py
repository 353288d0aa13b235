"""SQLite files with write-ahead log, full synchronisation, a check before use, and detection of removal."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from otherwise.errors import OtherwiseError


class GoneError(OtherwiseError):
    """A database file was moved or removed."""

    code = "storage"
    status = 507


def write_durably(connection: sqlite3.Connection, patience: float) -> None:
    """Write ahead (WAL), and wait for the disk at every commit.

    So neither a killed process nor a power cut loses what was acknowledged
    (https://www.sqlite.org/pragma.html#pragma_synchronous).

    Args:
        connection: A new one.
        patience: Seconds to wait for another process that is writing.

    Raises:
        sqlite3.Error: if it cannot be done.
    """
    connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
    # SQLite does not wait here, even with a timeout, if two processes open a new database at once.
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")


def passes_check(path: Path, mode: str, patience: float) -> bool:
    """Return whether a file is a sound database.

    Args:
        path: The file, which is there.
        mode: ``ro``, or ``rw`` to roll back what a killed process left.
        patience: Seconds to wait for another process that is writing.

    Raises:
        sqlite3.Error: if it cannot be told.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=patience)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that a file is damaged or is no database."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def refuse_once_moved(engine: Engine, path: Path) -> None:
    """Let no transaction begin any more once the file of a database is not the one that it is now.

    With a write-ahead log SQLite does not notice by itself (it tells ``SQLITE_READONLY_DBMOVED`` for rollback journals
    only). The file is looked at before each transaction, and before a connection would make a new, empty one.

    Args:
        engine: Of an open SQLite file.
        path: That file.

    Raises:
        GoneError: when a transaction begins then; transactions work again once the file is back.
    """
    known = _identity(path)

    def look(*_: Any) -> None:
        if _identity(path) != known:
            raise GoneError(
                f"{path.name} was moved or removed while it was in use.", "Put it back, or start the server anew."
            )

    event.listen(engine, "connect", look, insert=True)
    event.listen(engine, "begin", look)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
