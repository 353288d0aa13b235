"""The training images: a folder, prepared once for the classifier's input. No label is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otherwise.agent.training.near_duplicates import merged_groups, perceptual_hash
from otherwise.agent.training.views import Views, whole_images
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import AgentError, ImageError
from otherwise.images.atomic import atomic_path
from otherwise.images.listing import FoundImage, list_images
from otherwise.images.reading import read_image

FEWEST_FOLDERS = 8
"""Folders of images from which on each is taken for a patient."""
FORMAT = 2
"""Of the index beside the prepared images."""


@dataclass(frozen=True)
class PreparedImages:
    """Everything that the classifier sees of the images of a source.

    Attributes:
        views: ``(n, channels, *size)`` float32 in [0, 1]; memory-mapped.
        sources: For each view the number of the image that it is of.
        groups: For each view what is held out together: a patient, and near duplicates.
        skipped: Images that could not be used, and why.
        alike: How many images were put into the group of another one, since they are near duplicates.
        variants: Whether the first view of an image is the usual one and the others are variants of it.
    """

    views: np.ndarray
    sources: tuple[int, ...]
    groups: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    alike: int = 0
    variants: bool = False

    @property
    def usual(self) -> np.ndarray:
        """Return which views are the usual ones of their images: ``(n,)`` bool."""
        first = np.diff(self.sources, prepend=-1) != 0
        return first if self.variants else np.ones(len(self.sources), bool)


def prepare_images(
    source: Path | Sequence[Path | FoundImage],
    inputs: InputSpec,
    cache: Path,
    progress: Callable[[float], None] = lambda fraction: None,
    views: Views | None = None,
) -> PreparedImages:
    """Bring every image of a source into the classifier's form, once.

    Args:
        source: Folder of images, see ``images.listing``; or the images themselves.
        inputs: What the classifier wants.
        cache: Where to keep the prepared images (``.npy``); reused if it belongs to the same files, inputs and views.
        progress: Called with the share done.
        views: What is seen of an image; None: the whole of it.

    Raises:
        AgentError: if fewer than 32 images can be read.
    """
    found = list_images(source).images if isinstance(source, Path) else source
    views = views or whole_images(inputs)
    key = _fingerprint(found, inputs, views)
    index = cache.with_suffix(".json")
    known = _read_index(index, key) if cache.is_file() else None
    if known is None:
        known = _prepare(found, views, cache, progress)
        with atomic_path(index) as draft:
            draft.write_text(json.dumps({"key": key, **known}), encoding="utf-8")
    return PreparedImages(
        np.load(cache, mmap_mode="r"),
        tuple(known["sources"]),
        tuple(known["groups"]),
        tuple(known["skipped"]),
        known["alike"],
        views.variants,
    )


def _prepare(
    found: Sequence[Path | FoundImage], views: Views, cache: Path, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Write the views, and return the rest of ``PreparedImages``."""
    prepared: list[np.ndarray] = []
    sources: list[int] = []
    skipped: list[str] = []
    hashes: list[np.ndarray | None] = [None] * len(found)
    for number, item in enumerate(found):
        progress(number / len(found))
        try:
            image = read_image(item)
            seen = views.of(image)
        except ImageError as error:
            skipped.append(f"{_name(item)}: {error.detail}")
            continue
        hashes[number] = perceptual_hash(image)
        prepared += seen
        sources += [number] * len(seen)
    if len(prepared) < 32:
        first = f" (first: {skipped[0]})" if skipped else ""
        raise AgentError(
            f"Only {len(found) - len(skipped)} of {len(found)} images can be used{first}.", "Give at least 32."
        )
    patients = patient_groups(found)
    groups = merged_groups(patients, hashes)
    alike = sum(one != other for one, other in zip(patients, groups, strict=True))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(cache) as draft, draft.open("wb") as stream:
        np.save(stream, np.stack(prepared))
    return {"sources": sources, "groups": [groups[n] for n in sources], "skipped": skipped, "alike": alike}


def patient_groups(images: Sequence[Path | FoundImage]) -> list[str]:
    """Return for each image what is held out together: its patient, as far as that can be told.

    That is the patient of a table, else the DICOM study, else the folder that it lies in where images lie in several
    folders; else the image by itself.
    """
    names = [_name(image) for image in images]
    folders = [name.partition("#")[0].rpartition("/")[0].partition("/")[0] for name in names]
    several = len(set(folders)) >= FEWEST_FOLDERS
    groups = []
    for image, name, folder in zip(images, names, folders, strict=True):
        known = (image.patient or image.study) if isinstance(image, FoundImage) else ""
        groups.append(known or (folder if several and folder else name))
    return groups


def _name(image: Path | FoundImage) -> str:
    return str(image) if isinstance(image, Path) else image.name


def _read_index(index: Path, key: str) -> dict[str, Any] | None:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.pop("key", "") == key else None


def _fingerprint(images: Sequence[Path | FoundImage], inputs: InputSpec, views: Views) -> str:
    digest = hashlib.sha256(f"{FORMAT}{inputs!r}{views.key}".encode())
    for image in images:
        for file in image.files if isinstance(image, FoundImage) else (image,):
            status = file.stat()
            digest.update(f"{file.name}{status.st_size}{status.st_mtime_ns}".encode())
    return digest.hexdigest()
