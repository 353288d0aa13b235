"""Read labelled images from a folder and a table onto a classifier's grid, and split them for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.errors import OtherwiseError
from otherwise.images.reading import read_image
from otherwise.images.table import TableRow, read_number, read_table


class LabelsError(OtherwiseError):
    """A table of labels is missing, broken, or does not fit the images."""

    code = "labels"
    status = 422


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their labels.

    Attributes:
        images: ``(count, channels, *size)`` float32 in [0, 1].
        labels: ``(count,)`` integers, index into ``classes``; or numbers of a table, ``(count,)`` of one column,
            ``(count, columns)`` of several.
        classes: Class names; empty for numbers.
        groups: Group of each image, which a split keeps together: the patient, or else the image's ID.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]

    def split(self, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
        """Split into training and validation images.

        Whether a group is held out depends only on its name and the seed, not on the other images.

        Args:
            share: Approximate fraction to hold out.
            seed: Seed of the choice.
        """
        held_out = np.array([_fraction(f"{seed}:{group}") < share for group in self.groups], dtype=bool)
        return self._only(~held_out), self._only(held_out)

    def _only(self, chosen: np.ndarray) -> LabelledImages:
        groups = tuple(group for group, wanted in zip(self.groups, chosen, strict=True) if wanted)
        return LabelledImages(self.images[chosen], self.labels[chosen], self.classes, groups)


def read_labelled(
    folder: str | Path | Callable[[str], Path],
    table: str | Path,
    inputs: InputSpec,
    classes: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Read the images that a table names.

    Args:
        folder: Folder of the files, or a function from a name in the table to its file or folder.
        table: CSV with the columns ``file`` and ``label``, see ``images.table``; a column ``patient`` keeps a patient's
            images together, else a column ``id`` does.
        inputs: The grid and intensity window to bring them to.
        classes: Class names in the order wanted; default: the labels in alphabetical order.
        progress: Called after each image with how many are read, of how many.

    Raises:
        LabelsError: if a row has no label, or names a class that is not wanted.
        ImageError: if the table is missing or broken, or an image cannot be read or does not fit.
    """
    table = Path(table)
    rows = read_table(table)
    unlabelled = next((row.line for row in rows if not row.label), None)
    if unlabelled is not None:
        raise LabelsError(
            f"{table.name} line {unlabelled} has no label.", "Give a column label, and a class in each of its lines."
        )
    found = sorted({row.label for row in rows})
    names = tuple(classes) if classes else tuple(found)
    strange = [label for label in found if label not in names]
    if strange or len(names) < 2:
        raise LabelsError(
            f"{table.name} has labels {', '.join(found)}, but the classes are {', '.join(names)}.",
            "Name at least two classes, each label among them.",
        )
    labels = np.array([names.index(row.label) for row in rows], dtype=np.int64)
    return LabelledImages(_read_images(folder, rows, inputs, progress), labels, names, _groups(rows))


def read_numbered(
    folder: str | Path | Callable[[str], Path],
    table: str | Path,
    inputs: InputSpec,
    columns: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Read the images that a table names, with numbers of one or several of its columns; see ``read_labelled``.

    Args:
        folder: See ``read_labelled``.
        table: See ``read_labelled``; the column ``label`` is not needed.
        inputs: See ``read_labelled``.
        columns: Names of the columns, upper or lower case.
        progress: See ``read_labelled``.

    Raises:
        LabelsError: if a column is missing, or a row has no finite number in it.
        ImageError: see ``read_labelled``.
    """
    table = Path(table)
    rows = read_table(table)
    numbers = np.empty((len(rows), len(columns)))
    for index, row in enumerate(rows):
        for place, column in enumerate(columns):
            if column.lower() not in row.columns:
                known = ", ".join(row.columns)
                raise LabelsError(f"{table.name} has no column {column!r}.", f"Name one of {known}.")
            numbers[index, place] = read_number(
                row.columns[column.lower()], f"{table.name} line {row.line}", column, LabelsError
            )
    values = numbers[:, 0] if len(columns) == 1 else numbers
    return LabelledImages(_read_images(folder, rows, inputs, progress), values, (), _groups(rows))


def _read_images(
    folder: str | Path | Callable[[str], Path],
    rows: Sequence[TableRow],
    inputs: InputSpec,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    locate = folder if callable(folder) else Path(folder).joinpath
    images = np.empty((len(rows), inputs.channels, *inputs.size), dtype=np.float32)
    for index, row in enumerate(rows):
        image = read_image(locate(row.file))
        images[index] = show(image, inputs)
        if progress is not None:
            progress(index + 1, len(rows))
    return images


def _groups(rows: Sequence[TableRow]) -> tuple[str, ...]:
    return tuple(row.patient or row.id or row.file for row in rows)


def _fraction(text: str) -> float:
    """Return a number in [0, 1) that depends only on a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
