"""Real CT nodules of LIDC-IDRI: which of them make a clean task, and a split by patient.

Ratings are readers' opinions, not pathology. The clean task keeps nodules of malignancy 1-2 against 4-5 where the
derived diagnosis agrees. Data: Armato et al., Medical Physics 38 (2011) 915-931.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.reading import read_image

CLASSES = ("benign", "malignant")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Nodule:
    """One nodule of the clean task.

    Attributes:
        file: Name of its image below ``image/`` and of its mask below ``mask/``.
        patient: Pseudonym of the patient; all nodules of a patient are in one split.
        label: Index into ``CLASSES``.
        split: One of ``SPLITS``.
    """

    file: str
    patient: str
    label: int
    split: str


def split_of(patient: str) -> str:
    """Assign a patient to a split: 70 % train, 10 % validation, 20 % test, by a hash of the pseudonym."""
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    return SPLITS[0] if place < 0.7 else SPLITS[1] if place < 0.8 else SPLITS[2]


def nodules(folder: Path) -> list[Nodule]:
    """Read the table of a folder that holds ``nodules.csv`` and ``image/``; sorted by file.

    Raises:
        ImageError: if the table is missing or lacks a column.
    """
    table = folder / "nodules.csv"
    if not table.is_file():
        raise ImageError("The folder holds no nodules.csv.", "Give the folder with nodules.csv and image/.")
    chosen = []
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                malignancy, diagnosis = int(row["Malignancy_value"]), int(row["Diagnosis_value"])
                name, patient = row["file"], row["patient_id"]
            except (KeyError, ValueError, TypeError) as error:
                raise ImageError(f"nodules.csv lacks {error}.", "Give the table as it was published.") from error
            if malignancy != 3 and (malignancy > 3) == bool(diagnosis):
                chosen.append(Nodule(name, patient, diagnosis, split_of(patient)))
    return sorted(chosen, key=lambda nodule: nodule.file)


def test_images(folder: Path) -> Iterator[Image]:
    """The images of the test split, in HU."""
    for nodule in nodules(folder):
        path = folder / "image" / nodule.file
        if nodule.split == "test" and path.is_file():
            yield read_image(path)


test_images.__test__ = False  # type: ignore[attr-defined]
