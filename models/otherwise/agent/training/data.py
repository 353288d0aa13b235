"""The training images: a folder, prepared once for the classifier's input. No label is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.errors import AgentError, ImageError
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage, list_images
from otherwise.images.reading import read_image

FEWEST_FOLDERS = 8
"""Folders of images from which on each is taken for a patient."""
Views = Callable[[Image], list[np.ndarray]]
"""What a classifier sees of an image: the whole of it, or patches."""


@dataclass(frozen=True)
class TrainingImages:
    """Images for training and held-out ones for validation: ``(n, channels, *size)`` float32 in [0, 1]."""

    train: np.ndarray
    held_out: np.ndarray
    skipped: tuple[str, ...] = ()


def prepare_images(
    source: Path | Sequence[Path | FoundImage],
    inputs: InputSpec,
    cache: Path,
    progress: Callable[[float], None] = lambda fraction: None,
    share: float = 0.05,
    views: Views | None = None,
) -> TrainingImages:
    """Bring every image of a source into the classifier's form, once; the result is memory-mapped.

    Args:
        source: Folder of images, see ``images.listing``; or the images themselves.
        inputs: What the classifier wants.
        cache: Where to keep the prepared images (``.npy``); reused if it belongs to the same files and inputs.
        progress: Called with the share done.
        share: Share held out for validation (16 to 64 images, or a few more): by a hash of their names, so that further
            images hardly change which. What is seen of one patient is held out together, see ``patient_groups``.
        views: What is seen of an image, each ``(channels, *size)`` in [0, 1]; None: the whole of it.

    Raises:
        AgentError: if fewer than 32 images can be read.
    """

    def whole(image: Image) -> list[np.ndarray]:
        return [show(image, inputs)]

    found = list_images(source).images if isinstance(source, Path) else source
    key = _fingerprint(found, inputs)
    index = cache.with_suffix(".txt")
    if cache.is_file() and index.is_file() and index.read_text(encoding="utf-8").startswith(key):
        images = np.load(cache, mmap_mode="r")
        skipped = tuple(index.read_text(encoding="utf-8").splitlines()[1:])
    else:
        prepared, skipped_list, names = [], [], []
        groups = patient_groups(found)
        for number, item in enumerate(found):
            progress(number / len(found))
            try:
                seen = whole(read_image(item)) if views is None else views(read_image(item))
                prepared += seen
                names += [groups[number]] * len(seen)
            except ImageError as error:
                skipped_list.append(f"{item.name}: {error.detail}")
        if len(prepared) < 32:
            first = f" (first: {skipped_list[0]})" if skipped_list else ""
            raise AgentError(
                f"Only {len(found) - len(skipped_list)} of {len(found)} images can be used{first}.", "Give at least 32."
            )
        skipped = tuple(skipped_list)
        cache.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(cache) as draft, draft.open("wb") as file_out:
            np.save(file_out, np.stack(prepared))
        with atomic_path(index) as draft:
            draft.write_text("\n".join([key, *skipped]), encoding="utf-8")
        with atomic_path(_names(index)) as draft:
            draft.write_text("\n".join(names), encoding="utf-8")
        images = np.load(cache, mmap_mode="r")
    held = max(16, min(64, round(share * len(images))))
    draws = _draws(index, len(images))
    chosen = draws <= np.sort(draws)[held - 1]
    if chosen.all():
        raise AgentError(
            "All patches are of one image or patient, so that none can be held out.", "Give images of more patients."
        )
    return TrainingImages(images[~chosen], np.array(images[chosen]), skipped)


def patient_groups(images: Sequence[Path | FoundImage]) -> list[str]:
    """Return for each image what is held out together: its patient, as far as that can be told.

    That is the patient of a table, else the DICOM study, else the folder that it lies in where images lie in several
    folders; else the image by itself.
    """
    names = [str(image) if isinstance(image, Path) else image.name for image in images]
    folders = [name.partition("#")[0].rpartition("/")[0].partition("/")[0] for name in names]
    several = len(set(folders)) >= FEWEST_FOLDERS
    groups = []
    for image, name, folder in zip(images, names, folders, strict=True):
        known = (image.patient or image.study) if isinstance(image, FoundImage) else ""
        groups.append(known or (folder if several and folder else name))
    return groups


def _names(index: Path) -> Path:
    return index.with_suffix(".names.txt")


def _draws(index: Path, count: int) -> np.ndarray:
    """Return a pseudorandom number for each image that depends on its name alone."""
    kept = _names(index)
    names = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
    names = names if len(names) == count else [str(n) for n in range(count)]
    return np.array([int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) for name in names])


def _fingerprint(images: Sequence[Path | FoundImage], inputs: InputSpec) -> str:
    digest = hashlib.sha256(repr(inputs).encode())
    for image in images:
        for file in image.files if isinstance(image, FoundImage) else (image,):
            status = file.stat()
            digest.update(f"{file.name}{status.st_size}{status.st_mtime_ns}".encode())
    return digest.hexdigest()
