"""A folder of phantoms: images for a study folder, and beside them the truth."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, is_occupied
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.phantoms.hazard import Outcome
from otherwise.phantoms.phantom import Lesion, Phantom, WholePhantom

SCHEMA = "otherwise.phantom/1"
WHOLE_SCHEMA = "otherwise.whole-phantom/1"
FORMATS = ("nifti", "dicom")


def write_phantoms(
    phantoms: Iterable[Phantom] | Iterable[WholePhantom],
    folder: Path,
    format: str = "nifti",
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Write phantoms, all of them or none: an interrupted run leaves nothing.

    The folder holds ``images/`` (nothing but images, so that a server can offer it as its studies),
    ``truth/<id>/`` (``truth.json``, ``counterfactual.nii.gz`` and ``mask-<feature>.nii.gz`` of what is present; for a
    whole phantom ``lesions.nii.gz``, ``foreground.nii.gz`` and, of an oblique mammogram, ``muscle.nii.gz``) and
    ``labels.csv`` (id, file, label; files relative to ``folder``; of a phantom with an outcome also risk, time in days,
    event as 0 or 1, and each feature).

    Args:
        phantoms: What to write; ids must differ.
        folder: New, or empty.
        format: ``nifti``: ``images/<id>.nii.gz``. ``dicom``: ``images/<id>.dcm`` for a plane, a folder ``images/<id>``
            of slices for a volume.
        progress: Called after each phantom with how many are written.

    Returns:
        Their ids, in order.

    Raises:
        ImageError: if the folder holds something, the format is unknown, or an id is used twice.
        WriteError: if the disk refuses.
    """
    folder = Path(folder)
    if format not in FORMATS:
        raise ImageError(f"Format {format!r} is unknown.", f"Choose one of {', '.join(FORMATS)}.")
    if is_occupied(folder):
        raise ImageError(f"{folder} is not empty.", "Give a new or an empty folder.")
    rows: dict[str, dict[str, str]] = {}
    with atomic_folder(folder) as draft:
        for phantom in phantoms:
            id = phantom.image.id
            if id in rows:
                raise ImageError(f"Two phantoms are called {id}.", "Give each an id of its own.")
            file = _file_name(phantom.image, format)
            if isinstance(phantom, WholePhantom):
                _write_whole_truth(phantom, draft / "truth" / id, file)
            else:
                _write_truth(phantom, draft / "truth" / id, file)
            write = write_image if format == "nifti" else write_dicom
            write(phantom.image, draft / file)
            rows[id] = {"id": id, "file": file, "label": phantom.label, **_outcome_columns(phantom)}
            if progress is not None:
                progress(len(rows))
        with (draft / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            columns = next(iter(rows.values()), {"id": "", "file": "", "label": ""})
            writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
    return list(rows)


def read_truth(folder: Path, id: str) -> Phantom:
    """Read one phantom back, its image included.

    Args:
        folder: As given to :func:`write_phantoms`.
        id: Of the image.

    Returns:
        The phantom. Masks and counterfactual lie on the grid of the image as it was read.

    Raises:
        ImageError: if there is no truth about it, or it is damaged.
    """
    folder = Path(folder)
    truth = folder / "truth" / _checked(id)
    try:
        truth_json = json.loads((truth / "truth.json").read_text(encoding="utf-8"))
        if truth_json["schema"] != SCHEMA:
            raise ImageError(
                f"The truth about {id} has schema {truth_json['schema']}.", f"This version reads {SCHEMA}."
            )
        image = read_image(folder / "images" / Path(truth_json["file"]).name, id=id)
        counterfactual = read_image(truth / "counterfactual.nii.gz")
        masks = {name: np.zeros(image.geometry.shape, dtype=bool) for name in truth_json["masks"]}
        for name in truth_json["present"]:
            masks[name] = read_image(truth / f"mask-{_checked(name)}.nii.gz").array[0] > 0
        return Phantom(
            image=image,
            label=truth_json["label"],
            classes=tuple(truth_json["classes"]),
            attributes=truth_json["attributes"],
            masks=masks,
            decisive=truth_json["decisive"],
            counterfactual=image.with_array(counterfactual.array, f"{id}-counterfactual"),
            outcome=Outcome(**truth_json["outcome"]) if truth_json.get("outcome") else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(
            f"The truth about {id} is missing or damaged in {folder}.", "Draw the phantoms again."
        ) from error


def read_whole_truth(folder: Path, id: str) -> WholePhantom:
    """Read one whole phantom back, its image included; see :func:`read_truth`."""
    folder = Path(folder)
    truth = folder / "truth" / _checked(id)
    try:
        truth_json = json.loads((truth / "truth.json").read_text(encoding="utf-8"))
        if truth_json["schema"] != WHOLE_SCHEMA:
            raise ImageError(
                f"The truth about {id} has schema {truth_json['schema']}.", f"This version reads {WHOLE_SCHEMA}."
            )
        lesions = [{**lesion, "centre_ras": tuple(lesion["centre_ras"])} for lesion in truth_json["lesions"]]
        muscle = truth / "muscle.nii.gz"
        return WholePhantom(
            image=read_image(folder / "images" / Path(truth_json["file"]).name, id=id),
            lesions=tuple(Lesion(**lesion) for lesion in lesions),
            labels=read_image(truth / "lesions.nii.gz").array[0],
            foreground=read_image(truth / "foreground.nii.gz").array[0] > 0,
            attributes=truth_json["attributes"],
            muscle=read_image(muscle).array[0] > 0 if muscle.exists() else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(
            f"The truth about {id} is missing or damaged in {folder}.", "Draw the phantoms again."
        ) from error


def _write_whole_truth(phantom: WholePhantom, target: Path, file: str) -> None:
    truth_json = {
        "schema": WHOLE_SCHEMA,
        "id": phantom.image.id,
        "file": file,
        "label": phantom.label,
        "attributes": dict(phantom.attributes),
        "lesions": [asdict(lesion) for lesion in phantom.lesions],
    }
    with atomic_folder(target) as temporary:
        (temporary / "truth.json").write_text(json.dumps(truth_json, indent=2) + "\n", encoding="utf-8")
        masks = {"lesions": phantom.labels, "foreground": phantom.foreground, "muscle": phantom.muscle}
        for name, mask in masks.items():
            if mask is not None:
                write_image(phantom.image.with_array(mask[None].astype(np.uint8), name), temporary / f"{name}.nii.gz")


def _write_truth(phantom: Phantom, target: Path, file: str) -> None:
    # Empty masks need no file of their own.
    present = [name for name, mask in phantom.masks.items() if mask.any()]
    truth_json = {
        "schema": SCHEMA,
        "id": phantom.image.id,
        "file": file,
        "label": phantom.label,
        "classes": phantom.classes,
        "decisive": phantom.decisive,
        "attributes": dict(phantom.attributes),
        "masks": list(phantom.masks),
        "present": present,
        "outcome": asdict(phantom.outcome) if phantom.outcome else None,
    }
    with atomic_folder(target) as temporary:
        (temporary / "truth.json").write_text(json.dumps(truth_json, indent=2) + "\n", encoding="utf-8")
        write_image(phantom.counterfactual, temporary / "counterfactual.nii.gz")
        for name in present:
            image = phantom.image.with_array(phantom.masks[name][None].astype(np.uint8), name)
            write_image(image, temporary / f"mask-{_checked(name)}.nii.gz")


def _outcome_columns(phantom: Phantom | WholePhantom) -> dict[str, str]:
    """Return what the table says about a prognosis; nothing of a phantom without one."""
    outcome = phantom.outcome if isinstance(phantom, Phantom) else None
    if outcome is None:
        return {}
    return {
        "risk": f"{outcome.risk:.5f}",
        "time": f"{outcome.time:.1f}",
        "event": str(int(outcome.event)),
        **{name: f"{value:.5f}" for name, value in outcome.features.items()},
    }


def _file_name(image: Image, format: str) -> str:
    """Return where an image goes, relative to the folder; with forward slashes on every system."""
    id = _checked(image.id)
    ending = ".nii.gz" if format == "nifti" else ".dcm" if image.dimension == 2 else ""
    return f"images/{id}{ending}"


def _checked(name: str) -> str:
    """Return a name that is safe as a part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ImageError(f"{name!r} is no id of a phantom.", "Use letters, digits, - and _ only.")
    return name
