"""A database of annotations, which are added and never changed or removed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    func,
    select,
    text,
)

from otherwise.annotations.annotation import Annotation, AnnotationError
from otherwise.annotations.database import DamagedDatabaseError, explained, open_database
from otherwise.errors import OtherwiseError

METADATA = MetaData()
TABLE = Table(
    "annotation",
    METADATA,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("created", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("scheme", Text),
    Column("code", Text),
    Column("withdraws", Text, ForeignKey("annotation.id")),
    Column("content", Text, nullable=False),
    Index("annotation_image", "image"),
    Index("annotation_withdraws", "withdraws"),
)
"""What is queried, and the whole annotation as JSON; :mod:`.migrations` makes it so."""


class AnnotationConflictError(AnnotationError):
    """An annotation contradicts the recorded ones."""

    code = "annotation-conflict"
    status = 409


class UnknownAnnotationError(AnnotationError):
    """There is no annotation with that id."""

    code = "unknown-annotation"
    status = 404


@dataclass(frozen=True)
class RecordedAnnotation:
    """An annotation and its place in the order in which all were recorded, from 1."""

    number: int
    annotation: Annotation


class AnnotationStore:
    """Annotations in the order in which they were recorded; for any number of threads and processes at once.

    Args:
        database: Path of a SQLite file, or a URL; see :func:`.open_database`, also for what is raised.

    Every method raises AnnotationStorageError if the disk is full, and DatabaseError if the database does not answer.
    """

    def __init__(self, database: str | Path) -> None:
        self._engine = open_database(database)
        self._writer = threading.Lock()  # threads wait here in fairness; processes in the database

    def append(self, annotation: Annotation) -> int:
        """Record an annotation; once this returns, it stays.

        Returns:
            Its number. One that is there already is not recorded twice, and keeps its number.

        Raises:
            AnnotationConflictError: if its id is another annotation's, or it withdraws a withdrawal, or an annotation
                of another image.
            UnknownAnnotationError: if it withdraws an annotation that does not exist.
        """
        (number,) = self.append_all([annotation])
        return number

    def append_all(self, annotations: Iterable[Annotation]) -> list[int]:
        """Record annotations, all or none; see :meth:`append`."""
        with self._writing() as connection:
            numbers, last = [], _head(connection)
            for annotation in annotations:
                known = connection.execute(
                    select(TABLE.c.number, TABLE.c.content).where(TABLE.c.id == annotation.id)
                ).one_or_none()
                if known is None:
                    _check_withdrawal(connection, annotation)
                    last += 1
                    connection.execute(TABLE.insert().values(_row(last, annotation)))
                elif _read(known.number, known.content) != annotation:
                    raise AnnotationConflictError(
                        f"The id {annotation.id} belongs to another annotation.",
                        "Give every annotation an id of its own.",
                    )
                numbers.append(last if known is None else known.number)
            return numbers

    def get(self, id: str) -> Annotation:
        """Return the annotation with an id.

        Raises:
            UnknownAnnotationError: if there is none.
        """
        found = self._select(select(TABLE.c.number, TABLE.c.content).where(TABLE.c.id == id))
        if not found:
            raise _unknown(id)
        return found[0].annotation

    def since(self, number: int, most: int | None = None) -> list[RecordedAnnotation]:
        """Return all events after a number, oldest first, with withdrawn annotations and withdrawals.

        A reader that continues from the last number that it has seen misses none.

        Args:
            number: 0 for the beginning.
            most: How many at most.
        """
        wanted = select(TABLE.c.number, TABLE.c.content).where(TABLE.c.number > number)
        return self._select(wanted.order_by(TABLE.c.number).limit(most))

    def current(self, image: str | None = None) -> list[Annotation]:
        """Return the annotations that are not withdrawn, oldest first; of one image, or of all."""
        withdrawals = TABLE.alias()
        withdrawn = select(withdrawals.c.number).where(withdrawals.c.withdraws == TABLE.c.id).exists()
        return self._of(image, select(TABLE.c.number, TABLE.c.content).where(TABLE.c.kind != "withdraw", ~withdrawn))

    def withdrawn(self) -> set[str]:
        """Return the ids of the withdrawn annotations."""
        wanted = select(TABLE.c.withdraws).where(TABLE.c.withdraws.is_not(None))
        with explained(), self._engine.connect() as connection:
            return set(connection.execute(wanted).scalars())

    def history(self, image: str | None = None) -> list[Annotation]:
        """Return all events, oldest first; of one image, or of all."""
        return self._of(image, select(TABLE.c.number, TABLE.c.content))

    def head(self) -> int:
        """Return the last number; 0 if there is none."""
        with explained(), self._engine.connect() as connection:
            return _head(connection)

    def close(self) -> None:
        """Let the database go; the store is of no use afterwards."""
        self._engine.dispose()

    def __enter__(self) -> AnnotationStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open a transaction; one runs at a time, so that numbers become visible in their order."""
        with (
            self._writer,
            explained(),
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL synchronous_commit = on"))
                connection.execute(text("LOCK TABLE annotation IN EXCLUSIVE MODE"))  # readers do not wait
            yield connection

    def _of(self, image: str | None, wanted: Select[int, str]) -> list[Annotation]:
        if image is not None:
            wanted = wanted.where(TABLE.c.image == image)
        return [recorded.annotation for recorded in self._select(wanted.order_by(TABLE.c.number))]

    def _select(self, wanted: Select[int, str]) -> list[RecordedAnnotation]:
        with explained(), self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return [RecordedAnnotation(number, _read(number, content)) for number, content in rows]


def _head(connection: Connection) -> int:
    return connection.execute(select(func.max(TABLE.c.number))).scalar_one() or 0


def _row(number: int, annotation: Annotation) -> dict[str, object]:
    term = annotation.term
    return {
        "number": number,
        "id": annotation.id,
        "created": annotation.created,
        "author": annotation.author,
        "kind": annotation.kind,
        "image": annotation.image,
        "scheme": None if term is None else term.scheme,
        "code": None if term is None else term.code,
        "withdraws": annotation.withdraws or None,
        "content": annotation.to_text(),
    }


def _read(number: int, content: str) -> Annotation:
    try:
        return Annotation.from_text(content)
    except OtherwiseError as error:
        raise DamagedDatabaseError(
            f"Annotation {number} in the database is damaged.", "Import the last export into a new database."
        ) from error


def _check_withdrawal(connection: Connection, annotation: Annotation) -> None:
    if not annotation.withdraws:
        return
    columns = select(TABLE.c.kind, TABLE.c.image).where(TABLE.c.id == annotation.withdraws)
    other = connection.execute(columns).one_or_none()
    if other is None:
        raise _unknown(annotation.withdraws)
    if other.kind == "withdraw" or other.image != annotation.image:
        raise AnnotationConflictError(
            f"{annotation.withdraws} is a withdrawal, or of another image.", "Withdraw an annotation of this image."
        )


def _unknown(id: str) -> UnknownAnnotationError:
    return UnknownAnnotationError(f"There is no annotation {id!r}."[:100], "It may be of another server.")
