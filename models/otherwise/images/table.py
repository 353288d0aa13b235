"""Read a table of images: CSV with a file and attributes in each row."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otherwise.errors import ImageError, OtherwiseError

FILE_COLUMNS = ("file", "path", "image", "filename", "filepath")
"""Names of the column of paths, in any case; the first one in the table counts."""


@dataclass(frozen=True)
class TableRow:
    """One image of a table.

    Attributes:
        file: Path relative to the table, or absolute.
        label: Class; empty where the table has none.
        patient: Keeps images of one patient together; empty where the table has none.
        id: Name; empty where the table has none.
        line: Number of the line, from 1.
        columns: Everything that the line says, by the name of its column in lower case.
    """

    file: str
    label: str
    patient: str
    id: str
    line: int
    columns: Mapping[str, str] = field(default_factory=dict)


def is_table(path: Path) -> bool:
    """Return whether a path is named like a table."""
    return path.suffix.lower() in (".csv", ".tsv")


def read_table(path: Path) -> list[TableRow]:
    """Read a table; columns are separated by commas, semicolons or tabs.

    Raises:
        ImageError: if it cannot be read, has no column of files, or a row without one.
    """
    rows = read_rows(path)
    column = next((name for name in FILE_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        what = "has no rows" if not rows else "has no column of files"
        raise ImageError(f"{path.name} {what}.", f"Give a column named {', '.join(FILE_COLUMNS[:3])}.")
    found = []
    for line, row in enumerate(rows, start=2):
        if not row[column]:
            raise ImageError(f"{path.name} line {line} names no file.", "Complete or remove that line.")
        fields = (row.get("label", ""), row.get("patient", ""), row.get("id", ""))
        found.append(TableRow(row[column], *fields, line, row))
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table as texts by the lower-case names of its columns.

    Raises:
        ImageError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max("\t;,", key=first.count)
            return [_lower(row) for row in csv.DictReader(file, delimiter=separator)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text table"
        raise ImageError(f"{path.name} cannot be read: {reason}.", "Give a CSV table.") from error


def read_number(text: str, place: str, column: str, error: type[OtherwiseError]) -> float:
    """Read a finite number of a table.

    Args:
        text: What the table has.
        place: Table and line, for people.
        column: Name of the column.
        error: Raised where the text is no finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise error(f"{place} has {text!r} as {column}, which is no number.", "Correct or remove that line.")
    return value


def _lower(row: dict[str, str]) -> dict[str, str]:
    items: Iterable[tuple[str | None, object]] = row.items()
    return {name.strip().lower(): value.strip() for name, value in items if name and isinstance(value, str)}
