"""The images of a benchmark on the classifier's grid, with what is true about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from otherwise.blackbox.field import is_movable, moved_centre, reach
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import Centre, grid_seen, of_declared_size, show, view
from otherwise.datasets.lidc import CLASSES, nodules_of
from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import image_name, read_image
from otherwise.images.resampling import resample
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.nodule import NoduleSettings, nodules
from otherwise.phantoms.phantom import MALIGNANT, Phantom
from otherwise.phantoms.signs import sign_mammograms

MARKER = "marker"
LESION = ("mass", "nodule", "margin")
"""Masks of phantoms that together are the lesion: its body, and all around it as far as spicules would reach."""


@dataclass(frozen=True, eq=False)
class Case:
    """One image and its truth, as the classifier sees it.

    Attributes:
        id: Of the image.
        image: ``(channels, *size)`` float32 in [0, 1].
        truth: bool ``size``: the feature that decides; None if unknown.
        label: The true class; None if unknown.
        counterfactual: ``(channels, *size)``: the true counterfactual; None if unknown.
        marker: bool ``size``: a burned-in marker; None where there is none.
        lesion: bool ``size``: the lesion that has the feature, where that is more than the feature itself.
        patient: Pseudonym; None where each image is a patient of its own.

    Raises:
        ImageError: if the truth lies on another grid.
    """

    id: str
    image: np.ndarray
    truth: np.ndarray | None
    label: str | None = None
    counterfactual: np.ndarray | None = None
    marker: np.ndarray | None = None
    lesion: np.ndarray | None = None
    patient: str | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[1:]
        fits = all(
            mask is None or (mask.shape == size and mask.dtype == np.bool_)
            for mask in (self.truth, self.marker, self.lesion)
        )
        if not fits or (self.counterfactual is not None and self.counterfactual.shape != self.image.shape):
            raise ImageError(f"The truth of {self.id} does not lie on its image's grid.", "Bring both onto one grid.")


def phantom_case(phantom: Phantom, inputs: InputSpec) -> Case:
    """Bring a phantom and its truth onto the classifier's grid.

    Args:
        phantom: With its decisive feature and true counterfactual.
        inputs: What the classifier wants.

    Raises:
        ImageError: if the phantom does not suit the classifier.
    """
    marker = phantom.masks.get(MARKER)
    lesion = np.any([phantom.masks[name] for name in LESION if name in phantom.masks], axis=0)
    return Case(
        id=phantom.image.id,
        image=_seen(phantom.image, inputs),
        truth=on_grid(phantom.masks[phantom.decisive], phantom.image, inputs),
        label=phantom.label,
        counterfactual=_seen(phantom.counterfactual, inputs),
        marker=on_grid(marker, phantom.image, inputs) if marker is not None and marker.any() else None,
        lesion=on_grid(lesion, phantom.image, inputs),
    )


def mammogram_cases(inputs: InputSpec, count: int, seed: int, confound: float | None = None) -> Iterator[Case]:
    """Yield phantom mammograms; see ``phantoms.mammogram`` for seed and confound."""
    for phantom in mammograms(seed, count, MammogramSettings(confound=confound)):
        yield phantom_case(phantom, inputs)


def sign_cases(inputs: InputSpec, count: int, seed: int) -> Iterator[Case]:
    """Yield phantom mammograms in which one of several signs decides; see ``phantoms.signs``."""
    for phantom in sign_mammograms(seed, count, MammogramSettings()):
        place = on_grid(phantom.masks["place"], phantom.image, inputs)
        yield replace(phantom_case(phantom, inputs), lesion=place)


def nodule_cases(inputs: InputSpec, count: int, seed: int, confound: float | None = None) -> Iterator[Case]:
    """Yield phantom CT nodules; see ``phantoms.nodule``."""
    for phantom in nodules(seed, count, NoduleSettings(confound=confound)):
        yield phantom_case(phantom, inputs)


def confounded_cases(inputs: InputSpec, count: int, seed: int) -> Iterator[Case]:
    """Yield marked phantom mammograms of both classes for a classifier that decides by the marker.

    To it they are all malignant, for the marker; the true counterfactual is the same image without it.

    Args:
        inputs: What the classifier wants.
        count: How many.
        seed: Of the series; every second of it carries the marker.
    """
    number = 0
    while count:
        (marked,) = mammograms(seed, 1, MammogramSettings(confound=0.0), number)
        if marked.masks[MARKER].any():
            (plain,) = mammograms(seed, 1, MammogramSettings(), number)
            case = phantom_case(marked, inputs)
            without = _seen(plain.image, inputs)
            yield replace(case, truth=case.marker, label=MALIGNANT, counterfactual=without, lesion=None)
            count -= 1
        number += 1


def lidc_cases(folder: Path, inputs: InputSpec, split: str, off_centre: bool = False) -> Iterator[Case]:
    """Yield real nodules with the readers' mask; for a 2-D classifier the slice in which the nodule is largest.

    Args:
        folder: See ``datasets.lidc``.
        inputs: What the classifier wants.
        split: Which patients.
        off_centre: Move the field of view as far to a side as the image reaches; see ``off_centre_of``. A map that is
            merely bright in the middle points well at nodules that are all centred.

    Raises:
        ImageError: if the folder is not as it should be.
    """
    for nodule in nodules_of(folder, split):
        image, mask = read_image(folder / "image" / nodule.file), read_image(folder / "mask" / nodule.file)
        inside = mask.array[0] > 0
        if inputs.spatial_dims == 2:
            k = int(inside.sum(axis=(0, 1)).argmax())
            image, inside = image.slice(k), inside[..., k : k + 1]
        label = CLASSES[nodule.label] if nodule.label is not None else None
        name = image_name(Path(nodule.file))
        centre = off_centre_of(image, inputs, name) if off_centre else None
        seen = of_declared_size(image, view(image, inputs, centre=centre), inputs)
        truth = share_on_grid(inside, image, seen.grid, inputs)
        yield Case(name, seen.array, truth, label, patient=nodule.patient)


def off_centre_of(image: Image, inputs: InputSpec, name: str) -> Centre:
    """Return a centre from which the classifier's field just stays within the image, RAS millimetres.

    Along each axis of the field the image's centre is moved by half of what the image is larger, to a side that is
    drawn by the name's hash.

    Args:
        image: One plane or volume.
        inputs: With a spacing.
        name: Decides the sides.

    Raises:
        ImageError: if the field cannot be moved, see ``field.is_movable``.
    """
    if not is_movable(inputs):
        raise ImageError(
            "The classifier's field cannot be moved: it is all of an image, or the classifier's own steps place it.",
            "Leave --off-centre out.",
        )
    sides = hashlib.sha256(name.encode()).digest()[:3]
    signs = [1 if side % 2 else -1 for side in sides]
    return moved_centre(image.geometry, reach(image.geometry, inputs) * signs)


def on_grid(mask: np.ndarray, image: Image, inputs: InputSpec) -> np.ndarray:
    """Return a mask ``(i, j, k)`` of an image on the classifier's grid; see ``share_on_grid``."""
    return share_on_grid(mask, image, grid_seen(image, inputs), inputs)


def share_on_grid(mask: np.ndarray, image: Image, grid: Geometry, inputs: InputSpec) -> np.ndarray:
    """Return a mask ``(i, j, k)`` of an image on a grid, bool ``size``.

    A voxel belongs to it if at least half of it does; where the mask has voxels and none of the grid's is half covered,
    those that are covered most do.
    """
    share = resample(image.with_array(mask[None].astype(np.float32)), grid).array[0]
    found = share >= min(0.5, float(share.max())) if share.max() > 0 else np.zeros(share.shape, bool)
    return np.asarray(found[..., 0] if len(inputs.size) == 2 else found)


def _seen(image: Image, inputs: InputSpec) -> np.ndarray:
    return show(image, inputs)
