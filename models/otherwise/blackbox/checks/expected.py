"""Read the answers of the user's own pipeline: probabilities of classes, or values."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.blackbox.output_kind import OutputKind
from otherwise.errors import OtherwiseError
from otherwise.images.listing import FoundImage

KEYS = ("id", "path", "file", "image", "filename")
"""Columns that name the images; the first that is there counts."""
VALUE = "value"
"""Column of values; the value's own name is understood, too."""


class AnswersError(OtherwiseError):
    """A table of answers cannot be read, or does not fit the images or the classes."""

    code = "answers"
    status = 422


@dataclass(frozen=True, eq=False)
class Expected:
    """Answers of the user's own pipeline.

    Attributes:
        answers: ``(images, classes)`` probabilities, or ``(images, 1)`` values in the unit of the model, in the order
            of the images.
        images: The images, in the same order.
        truth: Class of each image from the column ``truth``; empty without this column.
    """

    answers: np.ndarray
    images: tuple[FoundImage, ...]
    truth: tuple[str, ...] = ()


def read_expected(path: Path, classes: Sequence[str], images: Sequence[FoundImage]) -> Expected:
    """Read probabilities of classes for a folder of images.

    Args:
        path: CSV with a column of ``KEYS`` and one for each class; for two classes, one is enough. Further columns are
            ignored; ``truth`` holds the true classes.
        classes: The classifier's.
        images: The folder's.

    Raises:
        AnswersError: if it cannot be read, names no or other images, other classes, no numbers, percentages, or lacks
            images.
    """
    rows = _rows(path)
    columns = list(rows[0])
    named = [name for name in classes if name in columns]
    if len(named) < len(classes) and not (len(classes) == 2 and len(named) == 1):
        missing = next(name for name in classes if name not in columns)
        raise AnswersError(
            f"{path.name} has no column for class {missing!r} (it has {', '.join(columns)}).",
            f"Name the columns after the classes: {', '.join(classes)}.",
        )
    found, values, truth = [], [], []
    for line, row, image in _of_images(path, rows, images):
        numbers = dict(zip(named, _numbers(path, line, row, named, "probabilities"), strict=True))
        if len(named) < len(classes):
            other = next(name for name in classes if name not in named)
            numbers[other] = 1 - numbers[named[0]]
        found.append(image)
        values.append([numbers[name] for name in classes])
        truth.append(row.get("truth") or "")
    array = np.array(values, np.float64)
    if not np.isfinite(array).all() or (array.min() < 0 and abs(array.sum(axis=1) - 1).max() > 1e-6 and len(named) > 1):
        raise AnswersError(f"{path.name} holds {array.min():g} to {array.max():g}, no probabilities.", "Give those.")
    if array.max() > 1 + 1e-6:
        share = "percentages" if array.max() <= 100 + 1e-6 else "no probabilities"
        raise AnswersError(
            f"{path.name} holds values up to {array.max():g}: {share}.", "Give probabilities from 0 to 1."
        )
    if array.min() < -1e-6:
        raise AnswersError(f"{path.name} holds {array.min():g}: no probability.", "Give values from 0 to 1.")
    _refuse_absent(path, images, found)
    return Expected(array, tuple(found), tuple(truth) if all(truth) else ())


def read_expected_values(path: Path, kind: OutputKind, images: Sequence[FoundImage]) -> Expected:
    """Read values in the model's unit for a folder of images.

    Args:
        path: CSV with a column of ``KEYS`` and one of ``value`` or the value's name. Further columns are ignored.
        kind: What the model says.
        images: The folder's.

    Raises:
        AnswersError: if it cannot be read, names no or other images, has no column of values, no numbers, or lacks
            images.
    """
    rows = _rows(path)
    column = next((name for name in (VALUE, kind.name) if name in rows[0]), None)
    if column is None:
        raise AnswersError(
            f"{path.name} has no column of values (it has {', '.join(rows[0])}).",
            f"Name the column of the {kind.name} in {kind.unit}: {VALUE}.",
        )
    found, values = [], []
    for line, row, image in _of_images(path, rows, images):
        (number,) = _numbers(path, line, row, [column], f"values in {kind.unit}")
        if not np.isfinite(number):
            raise AnswersError(f"{path.name} line {line} holds {row[column]}.", f"Give values in {kind.unit}.")
        found.append(image)
        values.append([number])
    _refuse_absent(path, images, found)
    return Expected(np.array(values, np.float64), tuple(found))


def _of_images(
    path: Path, rows: Sequence[dict[str, str]], images: Sequence[FoundImage]
) -> Iterator[tuple[int, dict[str, str], FoundImage]]:
    """Yield the line of each row, the row and its image."""
    key = next((name for name in KEYS if name in rows[0]), None)
    if key is None:
        raise AnswersError(f"{path.name} has no column id, path or file.", "Name the images in one.")
    known = {alias: image for image in images for alias in (image.id, image.name, Path(image.name).name)}
    earlier: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        image = known.get(row[key])
        if image is None:
            example = images[0].id if key == "id" else images[0].name
            raise AnswersError(
                f"{path.name} line {line} names {row[key]!r}, and there is no such image.",
                f"Names look like {example!r}; give the folder that the answers are of.",
            )
        if image.id in earlier:
            raise AnswersError(
                f"{path.name} lines {earlier[image.id]} and {line} both name {image.name}.",
                "Keep one row for each image.",
            )
        earlier[image.id] = line
        yield line, row, image


def _numbers(path: Path, line: int, row: dict[str, str], columns: Sequence[str], wanted: str) -> list[float]:
    try:
        return [float(row[name]) for name in columns]
    except ValueError as error:
        raise AnswersError(f"{path.name} line {line} has no number: {error}.", f"Give {wanted}.") from error


def _refuse_absent(path: Path, images: Sequence[FoundImage], found: Sequence[FoundImage]) -> None:
    absent = [image.name for image in images if image not in found]
    if absent:
        raise AnswersError(
            f"{path.name} has no row for {len(absent)} of {len(images)} images, such as {absent[0]}.",
            "Add them, or give a folder without these images.",
        )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max("\t;,", key=first.count)
            rows = [
                {str(name).strip(): (value or "").strip() for name, value in row.items() if name is not None}
                for row in csv.DictReader(file, delimiter=separator)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text table"
        raise AnswersError(f"{path.name} cannot be read: {reason}.", "Give a CSV table of answers.") from error
    if not rows:
        raise AnswersError(f"{path.name} has no rows.", "Give a row for each image.")
    return rows
