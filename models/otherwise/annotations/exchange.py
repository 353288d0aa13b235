"""Annotations as a file: JSON Lines, one annotation a line, in the order in which they were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from otherwise.annotations.annotation import Annotation, AnnotationError
from otherwise.annotations.region import RegionError
from otherwise.annotations.store import AnnotationStore
from otherwise.annotations.vocabulary import VocabularyError
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path

_BATCH = 1_000


class ExchangeError(OtherwiseError):
    """A file of annotations cannot be read, or a line of it is no annotation."""

    code = "exchange"
    status = 422


@dataclass(frozen=True)
class ImportResult:
    """The number of new annotations in a file, and of all."""

    new: int
    read: int


def export_annotations(store: AnnotationStore, path: Path) -> int:
    """Write all annotations, withdrawn ones and withdrawals included; the file appears whole or not at all.

    If the file is imported into an empty database and exported again, the new file is identical.

    Returns:
        How many.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
        OtherwiseError: as :meth:`AnnotationStore.since`.
    """
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        last = 0
        while batch := store.since(last, _BATCH):
            file.writelines(f"{recorded.annotation.to_text()}\n" for recorded in batch)
            last = batch[-1].number
            count += len(batch)
    return count


def import_annotations(store: AnnotationStore, path: Path) -> ImportResult:
    """Record every annotation of a file that is not there yet: all or, if one line is wrong, none.

    Raises:
        ExchangeError: if the file cannot be read, or a line is no annotation or does not fit those that are there.
        OtherwiseError: as :meth:`AnnotationStore.append`.
    """
    try:
        with path.open("rb") as file:
            lines = _Lines(file)
            before = store.head()
            numbers = store.append_all(lines)
    except OSError as error:
        raise ExchangeError(f"{path.name} cannot be read: {error.strerror}.", "Give a file of an export.") from error
    except (AnnotationError, RegionError, VocabularyError) as error:
        raise ExchangeError(
            f"Line {lines.number} of {path.name}: {error.detail} Nothing was imported.", error.hint
        ) from error
    return ImportResult(sum(number > before for number in set(numbers)), len(numbers))


class _Lines:
    """The annotations of a file, and which line is being read."""

    def __init__(self, file: BinaryIO) -> None:
        self.number = 0
        self._file = file

    def __iter__(self) -> Iterator[Annotation]:
        for line in self._file:
            self.number += 1
            yield Annotation.from_text(line)
