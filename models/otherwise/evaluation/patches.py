"""Labelled patches of whole phantoms, to train a classifier of patches."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, is_occupied
from otherwise.images.image import Image
from otherwise.images.resampling import model_grid, resample
from otherwise.images.writing import write_image
from otherwise.phantoms.phantom import NORMAL, WholePhantom

OFF_CENTRE = 0.25
"""How far from the patch's middle a lesion may lie, as a share of the edge: half the step between patches."""
CLEAR = 0.65
"""How far from the patch's middle the nearest lesion of a normal patch is at least, as a share of the edge."""
INSIDE = 0.3
"""Least share of body in a normal patch."""


@dataclass(frozen=True)
class PatchSampling:
    """Sizes and numbers of patches.

    Attributes:
        size: Voxels of a patch.
        spacing: Millimetres of a patch's voxels.
        per_lesion: Patches of each lesion.
        elsewhere: Patches of normal tissue in each image.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    per_lesion: int = 3
    elsewhere: int = 8


def write_patches(
    phantoms: Iterable[WholePhantom],
    out: Path,
    sampling: PatchSampling,
    rng: np.random.Generator,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, int]:
    """Cut patches about every lesion and in normal tissue, as ``otherwise classifier train`` reads them.

    Args:
        phantoms: Whole images with their truth.
        out: New or empty folder for ``images/`` and ``labels.csv`` (id, file, label, patient: the whole image).
        sampling: Sizes and numbers of patches.
        rng: Source of randomness of their places.
        progress: Called with how many phantoms are done.

    Returns:
        Number of patches by label.

    Raises:
        ImageError: if ``out`` holds something.
        WriteError: if the disk refuses.
    """
    if is_occupied(out):
        raise ImageError(f"{out} is not empty.", "Give a new or an empty folder.")
    counts: dict[str, int] = {}
    with atomic_folder(out) as draft:
        (draft / "images").mkdir()
        with (draft / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("id", "file", "label", "patient"))
            for done, phantom in enumerate(phantoms, start=1):
                for number, (label, centre) in enumerate(places(phantom, sampling, rng)):
                    id = f"{phantom.image.id}-{number:02d}"
                    grid = model_grid(phantom.image.geometry, sampling.size, sampling.spacing, centre=centre)
                    patch = resample(phantom.image, grid)
                    write_image(
                        Image(patch.array, grid, id, phantom.image.dimension), draft / "images" / f"{id}.nii.gz"
                    )
                    writer.writerow((id, f"images/{id}.nii.gz", label, phantom.image.id))
                    counts[label] = counts.get(label, 0) + 1
                progress(done)
    return counts


def places(
    phantom: WholePhantom, sampling: PatchSampling, rng: np.random.Generator
) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Return label and centre (RAS millimetres) of each patch to cut."""
    geometry = phantom.image.geometry
    edge = np.array([*(count * step for count, step in zip(sampling.size, sampling.spacing, strict=True)), 0.0][:3])
    axes = geometry.affine[:3, :3] / np.array(geometry.spacing)
    for lesion in phantom.lesions:
        for _ in range(sampling.per_lesion):
            yield lesion.label, _three(np.array(lesion.centre_ras) + axes @ (edge * rng.uniform(-1, 1, 3) * OFF_CENTRE))
    body = np.argwhere(phantom.foreground)
    left = sampling.elsewhere
    for _ in range(20 * sampling.elsewhere):
        if not left:
            return
        index = body[rng.integers(len(body))]
        centre = geometry.to_ras(index)
        offsets = [axes.T @ (np.array(lesion.centre_ras) - centre) for lesion in phantom.lesions]
        clear = all((np.abs(offset) > CLEAR * edge)[edge > 0].any() for offset in offsets)
        half = np.ceil(edge / 2 / geometry.spacing).astype(int)
        window = tuple(slice(max(0, i - h), i + h + 1) for i, h in zip(index, half, strict=True))
        if clear and phantom.foreground[window].mean() > INSIDE:
            left -= 1
            yield NORMAL, _three(centre)


def _three(place: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in place)
    return (x, y, z)
