"""What is known of where lesions lie in somebody's own images: masks, or a table of points or boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.images.image import Geometry
from otherwise.images.listing import FoundImage, list_images
from otherwise.images.reading import read_image
from otherwise.images.table import read_rows

SMALLEST = 4
"""A piece of a mask with fewer voxels is a slip of the pen."""


@dataclass(frozen=True)
class KnownLesion:
    """Where a lesion lies.

    Attributes:
        centre_ras: Millimetres.
        radius: Millimetres, of a circle or ball of its size; None where nobody said how large it is.
    """

    centre_ras: tuple[float, float, float]
    radius: float | None = None


def read_truth(path: Path, images: Sequence[FoundImage]) -> tuple[dict[str, list[KnownLesion]], dict[str, str]]:
    """Read where lesions lie.

    Args:
        path: A folder of masks with the images' names (an image without a mask has no lesion), or a CSV with a row for
            each lesion: ``file`` or ``id``; a point ``r,a,s`` (millimetres) or ``i,j`` and ``k`` (voxels from 0), or a
            box ``i_low,j_low,i_high,j_high`` and ``k_low,k_high``; ``diameter_mm`` and ``patient`` where known.
        images: The images that were searched.

    Returns:
        The lesions of each image by its id, and each image's patient as far as the table says.

    Raises:
        ImageError: if it cannot be read, or names none of the images.
    """
    if path.is_dir():
        return _from_masks(path, images), {}
    known = {alias: image for image in images for alias in (image.id, image.name, Path(image.name).name)}
    lesions: dict[str, list[KnownLesion]] = {image.id: [] for image in images}
    patients: dict[str, str] = {}
    met = 0
    for line, row in enumerate(read_rows(path), start=2):
        name = row.get("id") or row.get("file") or ""
        image = known.get(name)
        if image is None:
            continue
        met += 1
        if row.get("patient"):
            patients[image.id] = row["patient"]
        try:
            lesion = _from_row(row, image)
        except ValueError as error:
            raise ImageError(f"{path.name} line {line} has no number: {error}.", "Correct it.") from error
        if lesion is not None:
            lesions[image.id].append(lesion)
    if not met:
        example = images[0].name if images else "an image"
        raise ImageError(f"{path.name} names none of the images.", f"Names in id or file look like {example!r}.")
    return lesions, patients


def _from_row(row: Mapping[str, str], image: FoundImage) -> KnownLesion | None:
    """Return the lesion of a row; None for a row that says only whose image it is."""

    def numbers(*names: str) -> np.ndarray | None:
        given = [row.get(name, "") for name in names]
        return np.array([float(text) for text in given]) if all(given) else None

    radius = float(row["diameter_mm"]) / 2 if row.get("diameter_mm") else None
    point = numbers("r", "a", "s")
    if point is not None:
        return KnownLesion(_three(point), radius)
    low, high = numbers("i_low", "j_low"), numbers("i_high", "j_high")
    if low is not None and high is not None:
        deep = numbers("k_low", "k_high")
        low, high = (np.append(edge, deep[n] if deep is not None else 0.0) for n, edge in enumerate((low, high)))
        geometry = read_image(image).geometry
        sizes = (high - low) * geometry.spacing
        return KnownLesion(_three(geometry.to_ras((low + high) / 2)), radius or float(sizes[sizes > 0].mean()) / 2)
    place = numbers("i", "j")
    if place is None:
        return None
    depth = float(row.get("k") or 0)
    return KnownLesion(_three(read_image(image).geometry.to_ras(np.append(place, depth))), radius)


def _from_masks(folder: Path, images: Sequence[FoundImage]) -> dict[str, list[KnownLesion]]:
    drawn = {mask.id: mask for mask in list_images(folder, masks=True).images}
    if not set(drawn) & {image.id for image in images}:
        raise ImageError(f"No mask in {folder.name} has the name of an image.", "Name masks as their images.")
    lesions = {}
    for image in images:
        mask = read_image(drawn[image.id]) if image.id in drawn else None
        lesions[image.id] = lesions_of(mask.array.max(axis=0) > 0, mask.geometry) if mask is not None else []
    return lesions


def lesions_of(mask: np.ndarray, geometry: Geometry) -> list[KnownLesion]:
    """Return each connected piece of a mask ``(i, j, k)`` as a lesion of that size."""
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    found = []
    flat = geometry.shape[2] == 1
    for number in range(1, count + 1):
        index = np.argwhere(pieces == number)
        if len(index) < SMALLEST:
            continue
        centre = (index.min(axis=0) + index.max(axis=0)) / 2
        size = len(index) * float(np.prod(geometry.spacing[:2] if flat else geometry.spacing))
        radius = (size / np.pi) ** 0.5 if flat else (3 * size / (4 * np.pi)) ** (1 / 3)
        found.append(KnownLesion(_three(geometry.to_ras(centre)), radius))
    return found


def _three(place: np.ndarray) -> tuple[float, float, float]:
    r, a, s = (float(value) for value in place)
    return (r, a, s)
