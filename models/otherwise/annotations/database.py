"""Open a database of annotations: a SQLite file, or PostgreSQL by URL."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from otherwise.annotations.migrating import migrate
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import WriteError, atomic_path
from otherwise.sqlite import is_damage, passes_check, refuse_once_moved, write_durably

FILE_NAME = "annotations.sqlite"
"""The database's name within a folder of state."""

_PATIENCE = 30.0  # seconds to wait for another process that is writing


class AnnotationStorageError(OtherwiseError):
    """The disk is full or not writable."""

    code = "storage"
    status = 507


class DatabaseError(OtherwiseError):
    """A database cannot be reached, or is not a database."""

    code = "database"
    status = 503


class DamagedDatabaseError(DatabaseError):
    """A database has content that no version of Otherwise has written."""

    code = "damaged-database"
    status = 422


def open_database(database: str | Path) -> Engine:
    """Open a database, make it if there is none, and bring it to this version's form.

    SQLite writes ahead (WAL) and waits for the disk at every commit, so that neither a killed process nor a power cut
    loses what was acknowledged (https://www.sqlite.org/pragma.html#pragma_synchronous).

    Args:
        database: Path of a SQLite file, ``sqlite:///PATH`` or ``postgresql://...``.

    Returns:
        An engine. With the execution option ``writes``, a transaction of SQLite waits for its turn when it begins.

    Raises:
        DatabaseError: if the URL is of no such kind, or the database does not answer.
        DamagedDatabaseError: if a SQLite file is damaged; it has been copied, and is left as it was.
        NewerDatabaseError: if it was written by a newer version of Otherwise.
        AnnotationStorageError: if it cannot be written.

    A SQLite file that is moved away later is noticed, see :func:`~otherwise.sqlite.refuse_once_moved`.
    """
    url = _url(database)
    with explained():
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "")
            _make_folder(path.parent)
            _refuse_damaged(path)
            engine = create_engine(url, hide_parameters=True)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            url = url.update_query_dict({"connect_timeout": "10", **url.query})
            engine = create_engine(url, hide_parameters=True, isolation_level="READ COMMITTED", pool_pre_ping=True)
        try:
            migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        if url.get_backend_name() == "sqlite":
            refuse_once_moved(engine, path)
    return engine


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a database refuses into one line.

    Raises:
        OtherwiseError: for every error of SQLAlchemy, as :func:`open_database` says.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _explain(error.orig if isinstance(error, DBAPIError) else error) from error
    except sqlite3.Error as error:
        raise _explain(error) from error


def _url(database: str | Path) -> URL:
    if isinstance(database, Path) or "://" not in database:
        return URL.create("sqlite", database=str(database))
    try:
        url = make_url(database)
    except ArgumentError:
        raise DatabaseError("The database's URL is none.", "Give postgresql://USER@HOST/NAME or a path.") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise DatabaseError(
                "PostgreSQL needs psycopg, which is not installed.", "Run pip install 'slicer-otherwise[postgresql]'."
            ) from None
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or url.database in (None, "", ":memory:") or url.query:
        raise DatabaseError(
            f"A database of {backend} in this form is not supported.", "Give postgresql://USER@HOST/NAME or a path."
        )
    return url.set(drivername="sqlite")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AnnotationStorageError(
            f"The folder {folder.name} cannot be made: {error.strerror}.", "Choose a folder that you may write to."
        ) from error


def _refuse_damaged(path: Path) -> None:
    """Check a SQLite file, read-only, so that what may be left in its write-ahead log stays there."""
    try:
        size, log = (found.stat().st_size if found.exists() else 0 for found in (path, Path(f"{path}-wal")))
    except OSError as error:
        raise AnnotationStorageError(
            f"{path.name} cannot be read: {error.strerror}.", "Choose another place."
        ) from error
    if not size and not log:
        return
    try:
        # Beside a new database SQLite would delete an old one's log, with what was recorded last.
        good = bool(size) and passes_check(path, "ro", _PATIENCE)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_READONLY"):
            raise
        # It was killed while its first tables were made; SQLite has to roll that back before anybody can read.
        good = passes_check(path, "rw", _PATIENCE)
    if not good:
        raise DamagedDatabaseError(
            f"The database {path.name} is damaged; {_back_up(path)}.",
            f"Move {path.name}, {path.name}-wal and {path.name}-shm away, then import the last export into a new one: "
            "otherwise annotations import EXPORT.jsonl.",
        )


def _back_up(path: Path) -> str:
    """Copy a damaged database and its write-ahead log beside it, once for each time that they were changed."""
    sources = [file for file in (path, Path(f"{path}-wal")) if file.exists() and file.stat().st_size]
    changed = datetime.fromtimestamp(sources[0].stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.damaged-{changed}")
    try:
        for source in sources:
            target = copy.with_name(copy.name + source.name.removeprefix(path.name))
            if not target.exists():
                with atomic_path(target) as temporary:
                    shutil.copy2(source, temporary)
    except WriteError as error:
        return f"it could not be copied ({error.detail.rstrip('.')})"
    return f"a copy is {copy.name}"


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    write_durably(connection, _PATIENCE)
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _explain(error: BaseException | None) -> OtherwiseError:
    sqlite, postgres = getattr(error, "sqlite_errorname", None) or "", getattr(error, "sqlstate", None) or ""
    if sqlite == "SQLITE_FULL" or postgres == "53100":
        return AnnotationStorageError("The disk of the annotations is full.", "Free some space and try again.")
    if sqlite.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or postgres == "25006":
        return AnnotationStorageError("The annotations cannot be written.", "Choose a place that you may write to.")
    if sqlite.startswith("SQLITE_IOERR"):
        return AnnotationStorageError(
            "The disk of the annotations fails.", "Check the disk, and whether there is space left."
        )
    if error is not None and is_damage(error):
        return DamagedDatabaseError("The database of annotations is damaged.", "Start again to see what to do.")
    if sqlite.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseError("Another process keeps the annotations locked.", "Try again.")
    kind = type(error).__name__
    return DatabaseError(f"The database of annotations does not answer ({kind}).", "Check its address, or try again.")
