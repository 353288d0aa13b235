"""Radiographs of COVID-19 patients, with who was ever in intensive care: a prognosis that is confounded.

Data: Winther et al., COVID-19 Image Repository, Hannover Medical School, doi:10.6084/m9.figshare.12275009, CC BY 3.0.
A patient in bed is imaged in bed: projection, device, number of images and the form of the frame go with the outcome.
They stand in the table as covariates, for ``otherwise benchmark confounders`` to find.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, is_occupied
from otherwise.images.image import Image
from otherwise.images.reading import image_name, read_image
from otherwise.images.table import read_rows
from otherwise.images.writing import write_image

OUTCOME = "intensive_care"
"""Column of the outcome: 100 for patients who were ever in intensive care, else 0; a percentage can be learned."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One radiograph.

    Attributes:
        image: 2-D, grey values 0 to 255; named after its file.
        patient: Pseudonym.
        intensive_care: Whether the patient was ever in intensive care.
        covariates: What else the table and the file say of it, by the name of a column.
    """

    image: Image
    patient: str
    intensive_care: bool
    covariates: dict[str, str]


def radiographs(folder: Path) -> Iterator[Radiograph]:
    """Yield all radiographs, in the order of the table.

    Covariates: ``projection`` (ap or pa), ``device`` (CR: cassette, which can be carried to a bed; DX: fixed detector),
    ``sex``, ``width_to_height`` of the frame, ``images_of_patient`` and ``day`` (days since admission; may be empty).

    Args:
        folder: With ``patients.csv`` and ``image/``.

    Raises:
        ImageError: if the table or an image is missing or damaged.
    """
    rows = read_rows(folder / "patients.csv")
    try:
        counts = Counter(row["patient_id"] for row in rows)
        for row in rows:
            patient, projection, device = row["patient_id"], row["projection"].lower(), row["modality"].upper()
            seen = read_image(folder / "image" / row["file"])
            image = replace(seen, id=image_name(Path(row["file"])), dimension=2, modality=device)
            width, height = image.array.shape[1:3]
            covariates = {
                "projection": projection,
                "device": device,
                "sex": row["sex"],
                "width_to_height": f"{width / height:.4f}",
                "images_of_patient": str(counts[patient]),
                "day": _days_since(row["admission_offset_days"]),
            }
            yield Radiograph(image, patient, row["icu_ever"] == "1", covariates)
    except KeyError as error:
        raise ImageError(f"patients.csv has no column {error}.", "Give the table with all of its columns.") from error


def deal_folds(patients: Mapping[str, tuple[bool, int]], folds: int) -> dict[str, int]:
    """Deal patients into folds, from 1, so that each has as many of either outcome, and about as many images.

    Args:
        patients: By name: whether in intensive care, and number of images.
        folds: How many.
    """
    order = sorted(patients, key=lambda name: (*patients[name], hashlib.sha256(name.encode()).hexdigest()))
    return {name: 1 + place % folds for place, name in enumerate(order)}


def write_radiographs(
    folder: Path, out: Path, folds: int = 5, progress: Callable[[float], None] = lambda fraction: None
) -> dict[str, int]:
    """Write the radiographs as ``otherwise classifier train --value intensive_care`` reads them.

    ``images/`` holds the images, ``labels.csv`` all rows (id, file, patient, intensive_care, label, covariates, fold),
    and ``train-N.csv`` and ``test-N.csv`` those of the other folds and of fold N. A patient is in one fold. The label
    is the projection: a network of these classes judges whether a counterfactual shows another one.

    Args:
        folder: See ``radiographs``.
        out: New or empty folder; complete or not there at all.
        folds: How many.
        progress: Called with the share done.

    Returns:
        Number of images, of patients, and of images of patients who were in intensive care.

    Raises:
        ImageError: see ``radiographs``; or if ``out`` holds something.
    """
    if is_occupied(out):
        raise ImageError(f"{out} is not empty.", "Give a new or an empty folder.")
    rows: list[dict[str, str]] = []
    total = len(read_rows(folder / "patients.csv"))
    with atomic_folder(out) as draft:
        for each in radiographs(folder):
            file = f"images/{each.image.id}.nii.gz"
            write_image(each.image, draft / file)
            first = {"id": each.image.id, "file": file, "patient": each.patient}
            rows.append(
                first
                | {OUTCOME: str(100 * each.intensive_care), "label": each.covariates["projection"]}
                | each.covariates
            )
            progress(len(rows) / total)
        counts = Counter(row["patient"] for row in rows)
        fold_of = deal_folds({row["patient"]: (row[OUTCOME] == "100", counts[row["patient"]]) for row in rows}, folds)
        for row in rows:
            row["fold"] = str(fold_of[row["patient"]])
        _write(draft / "labels.csv", rows)
        for fold in map(str, range(1, folds + 1)):
            _write(draft / f"train-{fold}.csv", [row for row in rows if row["fold"] != fold])
            _write(draft / f"test-{fold}.csv", [row for row in rows if row["fold"] == fold])
    return {
        "images": len(rows),
        "patients": len({row["patient"] for row in rows}),
        "images of intensive care": sum(row[OUTCOME] == "100" for row in rows),
    }


def _days_since(offset: str) -> str:
    """Return the days since an admission whose day is given relative to the image."""
    return f"{0.0 - float(offset):g}" if offset else ""


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else ["id", "file", "patient", OUTCOME])
        writer.writeheader()
        writer.writerows(rows)
