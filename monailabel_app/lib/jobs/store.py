"""The record of jobs in the state folder, so that none that was accepted is lost when the server is killed."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from lib.jobs.model import Job, JobResult
from lib.jobs.spec import JobSpec
from lib.storage.explanation_store import StorageError
from otherwise.sqlite import passes_check, refuse_once_moved, write_durably

logger = logging.getLogger(__name__)

FILE_NAME = "jobs.sqlite"
VERSION = 1
"""Version of the tables, stored in SQLite's ``user_version``."""
PATIENCE = 10.0
"""Seconds to wait for another process that is writing."""

METADATA = MetaData()
JOBS = Table(
    "job",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("user", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("order", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("error", Text),
    Column("result", Text),
)
ANSWERS = Table(
    "answer",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("explanation", Text, nullable=False, index=True),
)


@dataclass(frozen=True)
class StoredJob:
    """A recorded job; see ``Job``."""

    id: str
    user: str
    created: str
    image: str
    spec: JobSpec
    state: str
    cached: bool
    result: JobResult | None


class JobStore:
    """Jobs and known answers in one SQLite file; for any number of threads.

    Data that a method wrote are on the disk when it returns (WAL, ``synchronous = FULL``).

    Args:
        path: The file; made if missing. One that is damaged, or of another version, is set aside.

    Raises:
        StorageError: here and by every method, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._writer = threading.Lock()
        with _explained():
            self._engine = _open(path)

    def add(self, job: Job) -> None:
        """Record a job that is about to be acknowledged."""
        result = job.result or JobResult("queued")
        row = {
            "id": job.id,
            "user": job.user,
            "created": job.created,
            "image": job.image,
            "order": job.spec.to_text(),
            "cached": job.cached,
            **_row(result),
        }
        with self._writing() as connection:
            connection.execute(insert(JOBS).values(row))

    def begun(self, ids: Iterable[str]) -> None:
        """Record that queued jobs run."""
        with self._writing() as connection:
            mine = JOBS.c.id.in_(list(ids)) & (JOBS.c.state == "queued")
            connection.execute(update(JOBS).where(mine).values(state="running"))

    def ended(self, ids: Iterable[str], result: JobResult, answers: Iterable[str] = ()) -> None:
        """Record how jobs ended.

        Args:
            ids: Ids of the jobs.
            result: Result of all of them.
            answers: Keys that the result, an explanation, answers from now on.
        """
        with self._writing() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id.in_(list(ids))).values(_row(result)))
            for key in answers:
                assert result.result is not None
                row = {"key": key, "explanation": result.result["id"]}
                connection.execute(insert(ANSWERS).prefix_with("OR REPLACE").values(row))

    def requeue(self) -> None:
        """Record running jobs as queued: the server stops in order, and the next one runs them."""
        with self._writing() as connection:
            connection.execute(update(JOBS).where(JOBS.c.state == "running").values(state="queued"))

    def forget(self, ids: Iterable[str]) -> None:
        """Remove jobs."""
        with self._writing() as connection:
            connection.execute(delete(JOBS).where(JOBS.c.id.in_(list(ids))))

    def all(self) -> list[StoredJob]:
        """Return all jobs, the oldest first."""
        with _explained(), self._engine.connect() as connection:
            return [_read(row) for row in connection.execute(select(JOBS).order_by(JOBS.c.number))]

    def answer(self, key: str) -> str | None:
        """Return the id of the explanation that answers a key; None if there is none."""
        wanted = select(ANSWERS.c.explanation).where(ANSWERS.c.key == key)
        with _explained(), self._engine.connect() as connection:
            return connection.execute(wanted).scalar_one_or_none()

    def forget_answers(self, explanation: str) -> None:
        """Forget the keys that an explanation answers."""
        with self._writing() as connection:
            connection.execute(delete(ANSWERS).where(ANSWERS.c.explanation == explanation))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _explained(), self._writer, self._engine.begin() as connection:
            yield connection


def _open(path: Path) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    problem = _problem(path)
    if problem:
        aside = _set_aside(path)
        logger.warning("The record of jobs %s; it is %s now, and begun anew.", problem, aside.name)
    engine = create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    METADATA.create_all(engine)
    with engine.connect() as connection:
        # Not written each time: a server starts on a full disk, too.
        if connection.exec_driver_sql("PRAGMA user_version").scalar_one() != VERSION:
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
            connection.commit()
    refuse_once_moved(engine, path)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    write_durably(connection, PATIENCE)


def _problem(path: Path) -> str:
    """Return what is wrong with the file; empty if it can be used."""
    if not path.exists() or not path.stat().st_size:
        return ""
    if not passes_check(path, "rw", PATIENCE):
        return "is damaged"
    with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    # The number is written last: without it, the tables may be there or not.
    return "" if version in (0, VERSION) else f"is of version {version}"


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.aside-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    for ending in ("-wal", "-shm", ""):
        file = path.with_name(path.name + ending)
        if file.exists():
            file.rename(aside.with_name(aside.name + ending))
    return aside


def _row(result: JobResult) -> dict[str, Any]:
    return {
        "state": result.state,
        "error": None if result.error is None else json.dumps(result.error),
        "result": None if result.result is None else json.dumps(result.result),
    }


def _read(row: Any) -> StoredJob:
    error, result = (None if text is None else json.loads(text) for text in (row.error, row.result))
    ended = row.state not in ("queued", "running")
    result = JobResult(row.state, error, result) if ended else None
    return StoredJob(
        row.id, row.user, row.created, row.image, JobSpec.from_text(row.order), row.state, row.cached, result
    )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        kind = getattr(cause, "sqlite_errorname", type(cause).__name__)
        raise StorageError(
            f"The record of jobs cannot be used ({kind}).", "Look at the disk of the state folder."
        ) from error
