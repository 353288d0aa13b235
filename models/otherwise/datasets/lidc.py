"""Real CT nodules of LIDC-IDRI: which of them make a clean task, a split by patient, and slices to train on.

Ratings are readers' opinions, not pathology. The clean task keeps nodules of malignancy 1-2 against 4-5 where the
derived diagnosis agrees. Diameter alone predicts the diagnosis with an area under the ROC curve of 0.92: a classifier
taught here goes largely by size, and its explanations should be read with that in mind.
Data: Armato et al., Medical Physics 38 (2011) 915-931.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, is_occupied
from otherwise.images.image import Image
from otherwise.images.reading import image_name, read_image
from otherwise.images.writing import write_image

CLASSES = ("benign", "malignant")
SPLITS = ("train", "validation", "test")
EVERY_SPLIT = "all"
"""All patients, such as a folder of other patients than those that the splits are about."""


@dataclass(frozen=True)
class LidcNodule:
    """One nodule.

    Attributes:
        file: Name of its image below ``image/`` and of its mask below ``mask/``.
        patient: Pseudonym of the patient; all nodules of a patient are in one split.
        label: Index into ``CLASSES``; None where the ratings are indeterminate or disagree.
        split: One of ``SPLITS``.
    """

    file: str
    patient: str
    label: int | None
    split: str


def split_of(patient: str) -> str:
    """Assign a patient to a split: 70 % train, 10 % validation, 20 % test, by a hash of the pseudonym."""
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    return SPLITS[0] if place < 0.7 else SPLITS[1] if place < 0.8 else SPLITS[2]


def all_nodules(folder: Path) -> list[LidcNodule]:
    """Read the table of a folder that holds ``nodules.csv`` and ``image/``; sorted by file.

    Raises:
        ImageError: if the table is missing or lacks a column.
    """
    found = []
    for row in _rows(folder):
        try:
            malignancy, diagnosis = int(row["Malignancy_value"]), int(row["Diagnosis_value"])
            name, patient = row["file"], row["patient_id"]
        except (KeyError, ValueError, TypeError) as error:
            raise ImageError(f"nodules.csv lacks {error}.", "Give the table as it was published.") from error
        clean = malignancy != 3 and (malignancy > 3) == bool(diagnosis)
        found.append(LidcNodule(name, patient, diagnosis if clean else None, split_of(patient)))
    return sorted(found, key=lambda nodule: nodule.file)


def ratings(folder: Path) -> dict[str, dict[str, int]]:
    """Return the readers' ratings of each nodule by the image's name; ratings have names such as ``Spiculation``.

    Raises:
        ImageError: if the table is missing or damaged.
    """
    try:
        return {
            image_name(Path(row["file"])): {
                name.removesuffix("_value"): int(value) for name, value in row.items() if name.endswith("_value")
            }
            for row in _rows(folder)
        }
    except (KeyError, ValueError, TypeError) as error:
        raise ImageError(f"nodules.csv is damaged ({error}).", "Give the table as it was published.") from error


def nodules(folder: Path) -> list[LidcNodule]:
    """Read the nodules of the clean task; see ``all_nodules``."""
    return [nodule for nodule in all_nodules(folder) if nodule.label is not None]


def nodules_of(folder: Path, split: str) -> Iterator[LidcNodule]:
    """Yield the nodules of the clean task whose image is there, of one of ``SPLITS`` or of ``EVERY_SPLIT``."""
    for nodule in nodules(folder):
        if split in (nodule.split, EVERY_SPLIT) and (folder / "image" / nodule.file).is_file():
            yield nodule


def test_images(folder: Path) -> Iterator[Image]:
    """Yield the images of the test split, in HU."""
    for nodule in nodules_of(folder, "test"):
        yield read_image(folder / "image" / nodule.file)


test_images.__test__ = False  # type: ignore[attr-defined]


def write_slices(folder: Path, out: Path, progress: Callable[[float], None] = lambda fraction: None) -> dict[str, int]:
    """Write 2-D slices through the nodules, as ``otherwise classifier train`` and ``otherwise train agent`` read them.

    ``train/``, ``validation/`` and ``test/`` hold ``images/`` and ``labels.csv`` (with a column ``patient``) of the
    clean task: the slice in which the nodule is largest, for training also its neighbours within the nodule.
    ``unlabelled/`` holds every slice through any nodule of the training patients.

    Args:
        folder: With ``nodules.csv``, ``image/`` and ``mask/``.
        out: New or empty folder; complete or not there at all.
        progress: Called with the share done.

    Returns:
        Number of slices by folder.

    Raises:
        ImageError: if the table or an image cannot be read, or ``out`` holds something.
    """
    return _write_sets(folder, out, _slices, progress)


def write_volumes(folder: Path, out: Path, progress: Callable[[float], None] = lambda fraction: None) -> dict[str, int]:
    """Write the nodules as volumes, for classifiers and agents in 3-D; otherwise as ``write_slices``.

    ``unlabelled/`` holds every nodule of the training patients.
    """
    return _write_sets(folder, out, _volumes, progress)


Cutter = Callable[[LidcNodule, Image, np.ndarray], tuple[list[Image], list[Image]]]
"""A nodule, its image and its mask ``(i, j, k)`` -> images of the clean task, and images to train without labels."""


def _write_sets(folder: Path, out: Path, cut: Cutter, progress: Callable[[float], None]) -> dict[str, int]:
    if is_occupied(out):
        raise ImageError(f"{out} is not empty.", "Give a new or an empty folder.")
    everything = [nodule for nodule in all_nodules(folder) if (folder / "image" / nodule.file).is_file()]
    if not everything:
        raise ImageError("None of the table's images is in image/.", "Give the folder as it was published.")
    tables: dict[str, list[tuple[str, str, str, str]]] = {split: [] for split in SPLITS}
    count = 0
    with atomic_folder(out) as draft:
        for number, nodule in enumerate(everything):
            progress(number / len(everything))
            image = read_image(folder / "image" / nodule.file)
            labelled, unlabelled = cut(nodule, image, read_image(folder / "mask" / nodule.file).array[0] > 0)
            if nodule.split == "train":
                _write(unlabelled, draft / "unlabelled" / "images")
                count += len(unlabelled)
            if nodule.label is not None:
                _write(labelled, draft / nodule.split / "images")
                label = CLASSES[nodule.label]
                tables[nodule.split] += [
                    (each.id, f"images/{each.id}.nii.gz", label, nodule.patient) for each in labelled
                ]
        for split, rows in tables.items():
            (draft / split).mkdir(exist_ok=True)
            with (draft / split / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(("id", "file", "label", "patient"))
                writer.writerows(rows)
    return {**{split: len(rows) for split, rows in tables.items()}, "unlabelled": count}


def _slices(nodule: LidcNodule, image: Image, mask: np.ndarray) -> tuple[list[Image], list[Image]]:
    area = mask.sum(axis=(0, 1))
    largest = int(area.argmax())
    reach = (-1, 0, 1) if nodule.split == "train" else (0,)
    chosen = [largest + step for step in reach if 0 <= largest + step < len(area) and area[largest + step]]

    def slices(places: Sequence[int]) -> list[Image]:
        return [replace(image.slice(k), id=f"{image.id}-slice-{k:03d}") for k in places]

    return slices(chosen or [largest]), slices(np.flatnonzero(area).tolist())


def _volumes(nodule: LidcNodule, image: Image, mask: np.ndarray) -> tuple[list[Image], list[Image]]:
    return [image], [image]


def _write(images: Sequence[Image], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        write_image(image, folder / f"{image.id}.nii.gz")


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    table = folder / "nodules.csv"
    if not table.is_file():
        raise ImageError("The folder holds no nodules.csv.", "Give the folder with nodules.csv and image/.")
    with table.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
