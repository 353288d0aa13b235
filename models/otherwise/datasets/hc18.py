"""Fetal head ultrasound of HC18: split by subject, in millimetres, with the circumference of each head.

Data: van den Heuvel et al., PLoS ONE 13(8):e0200412 (2018), CC BY 4.0. How much of the body is seen goes with the size
of the head: by the width of the frame alone the circumference can be guessed to about 31 mm. Training images are
therefore cut at random about the head, and magnified at random together with their circumference.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, is_occupied
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import image_name, read_image
from otherwise.images.table import read_rows
from otherwise.images.writing import write_image

SPLITS = ("train", "validation", "test")
COLUMN = "circumference_mm"
MAGNIFICATION = (0.8, 1.25)
"""Training copies are made smaller or larger by a factor in this range."""


@dataclass(frozen=True, eq=False)
class Head:
    """One image of a head.

    Attributes:
        image: 2-D, grey values 0 to 255, millimetres; named after its file.
        mask: The head, bool ``(i, j, 1)``.
        subject: Pseudonym; all images of a subject are in one split.
        circumference: Of the skull in millimetres, as measured by a sonographer.
    """

    image: Image
    mask: np.ndarray
    subject: str
    circumference: float


def split_of(subject: str) -> str:
    """Assign a subject to a split: 65 % train, 10 % validation, 25 % test, by a hash of the pseudonym."""
    place = int(hashlib.sha256(f"hc18:{subject}".encode()).hexdigest()[:8], 16) / 2**32
    return SPLITS[0] if place < 0.65 else SPLITS[1] if place < 0.75 else SPLITS[2]


def heads(folder: Path, split: str) -> Iterator[Head]:
    """Yield the heads of a split, in the order of the table.

    Args:
        folder: With ``measurements.csv``, ``image/`` and ``mask/``.
        split: One of ``SPLITS``.

    Raises:
        ImageError: if the table or an image is missing or damaged.
    """
    for row in read_rows(folder / "measurements.csv"):
        try:
            file, subject = row["file"], row["subject"]
            size, circumference = float(row["pixel_size_mm"]), float(row["head_circumference_mm"])
        except (KeyError, ValueError) as error:
            raise ImageError(f"measurements.csv lacks {error}.", "Give the table as it was published.") from error
        if split_of(subject) == split:
            # The file says nothing of the size of its pixels; columns and rows run as in any photograph.
            seen = read_image(folder / "image" / file)
            image = Image(seen.array, _in_millimetres(seen.geometry, size), image_name(Path(file)), 2, "US")
            yield Head(image, read_image(folder / "mask" / file).array[0] > 0, subject, circumference)


def write_heads(
    folder: Path, out: Path, copies: int = 4, progress: Callable[[float], None] = lambda fraction: None
) -> dict[str, int]:
    """Write the heads as ``otherwise classifier train --value circumference_mm`` and ``train agent`` read them.

    ``train/``, ``validation/`` and ``test/`` hold ``images/`` and ``labels.csv`` (id, file, circumference_mm, patient).

    Args:
        folder: See ``heads``.
        out: New or empty folder; complete or not there at all.
        copies: So many training images of each head: itself, and copies cut and magnified at random.
        progress: Called with the share done.

    Returns:
        Number of images by split.

    Raises:
        ImageError: see ``heads``; or if ``out`` holds something.
    """
    if is_occupied(out):
        raise ImageError(f"{out} is not empty.", "Give a new or an empty folder.")
    counts = {}
    with atomic_folder(out) as draft:
        for number, split in enumerate(SPLITS):
            rows = []
            for head in heads(folder, split):
                for each in varied(head, copies if split == "train" else 1):
                    id = each.image.id
                    write_image(each.image, draft / split / "images" / f"{id}.nii.gz")
                    rows.append((id, f"images/{id}.nii.gz", f"{each.circumference:.2f}", each.subject))
            (draft / split).mkdir(parents=True, exist_ok=True)
            with (draft / split / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(("id", "file", COLUMN, "patient"))
                writer.writerows(rows)
            counts[split] = len(rows)
            progress((number + 1) / len(SPLITS))
    return counts


def varied(head: Head, copies: int) -> Iterator[Head]:
    """Yield a head, and copies of it cut about the head and magnified at random; the same ones each time."""
    yield head
    digest = hashlib.sha256(head.image.id.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8]))
    for number in range(1, copies):
        inside = np.argwhere(head.mask)
        low, high = inside.min(axis=0), inside.max(axis=0) + 1
        shape = np.array(head.mask.shape)
        first = np.rint(low * rng.random(3)).astype(int)
        last = np.rint(high + (shape - high) * rng.random(3)).astype(int)
        box = tuple(first.tolist()), tuple(last.tolist())
        factor = float(np.exp(rng.uniform(*np.log(MAGNIFICATION))))
        cut = head.image.crop(*box)
        affine = cut.geometry.affine.copy()
        affine[:3, :2] *= factor
        image = Image(cut.array, Geometry(cut.geometry.shape, affine), f"{head.image.id}-{number}", 2, "US")
        part = tuple(slice(a, b) for a, b in zip(*box, strict=True))
        yield Head(image, head.mask[part], head.subject, factor * head.circumference)


def _in_millimetres(geometry: Geometry, size: float) -> Geometry:
    affine = geometry.affine.copy()
    affine[:3, :2] *= size
    return Geometry(geometry.shape, affine)
