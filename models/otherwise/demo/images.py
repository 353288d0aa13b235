"""The images of the demo, as a study folder."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from otherwise.demo.setup import DemoError, Setup
from otherwise.errors import ImageError
from otherwise.images.image import Image, check_content
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image

COUNT = 8
"""Images shown in a demo."""
SEED = 987_654
"""Of the phantoms; no shipped model has seen them."""


def demo_images(setup: Setup) -> Iterator[Image]:
    """Draw, or read, the images to show.

    Raises:
        DemoError: if there are none.
    """
    if setup.source == "phantoms":
        from otherwise.phantoms.mammogram import MammogramSettings, mammograms

        return (phantom.image for phantom in mammograms(SEED, COUNT, MammogramSettings()))
    if setup.path is None or not setup.path.is_dir():
        raise DemoError(f"There is no folder {setup.path}.", "Give the folder that holds the images.")
    if setup.source == "lidc":
        from otherwise.datasets.lidc import test_images

        return itertools.islice(test_images(setup.path), COUNT)
    return itertools.islice(images_of_folder(setup.path), COUNT)


def images_of_folder(folder: Path) -> Iterator[Image]:
    """Read the images of a folder that can be read, see ``images.listing``.

    Raises:
        DemoError: if none can.
    """
    found = False
    for item in list_images(folder, empty=True).images:
        try:
            yield check_content(read_image(item))
        except ImageError:
            continue
        found = True
    if not found:
        raise DemoError(f"No file in {folder} can be read as an image.", "Give DICOM, NIfTI, NRRD, PNG or the like.")


def write_studies(images: Iterable[Image], folder: Path) -> dict[str, int]:
    """Write images as a study folder.

    Returns:
        Their ids, as MONAI Label will know them, each with its number of slices.
    """
    names: dict[str, int] = {}
    for image in images:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", image.id).strip("-") or "image"
        name = name if name not in names else f"{name}-{len(names)}"
        write_image(image, folder / f"{name}.nrrd")
        names[name] = image.geometry.shape[2]
    return names
