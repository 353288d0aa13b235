"""What a unit answers to in one image, as a mask: on the classifier's grid, or on the image's own as a segmentation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lib.storage.explanation_store import NotFoundError
from otherwise.annotations.region import RegionMask
from otherwise.concepts.activations import ImageActivations
from otherwise.concepts.query import best_mask
from otherwise.images.image import Image
from otherwise.images.writing import SegmentInfo, write_label_map

USUAL = 1
"""Level of the mask where no region says which level fits, see ``UnitMaps.levels``."""
COLOUR = (230, 159, 0)
"""Of what a unit answers to, in pictures and segmentations: red, green, blue in [0, 255]."""


def unit_mask(look: ImageActivations, index: int, label: int | None) -> np.ndarray:
    """Return what a unit answers to in an image: bool, on the classifier's grid.

    Args:
        look: The image.
        index: Of the unit.
        label: Of a decisive region, which says which of the unit's levels fits; None: the usual level.

    Raises:
        NotFoundError: if there is no such region.
    """
    levels = look.levels[index]
    return levels > USUAL if label is None else best_mask(levels, region_mask(look, label))


def region_mask(look: ImageActivations, label: int) -> np.ndarray:
    """Return a decisive region: bool, on the classifier's grid.

    Raises:
        NotFoundError: if there is no such region.
    """
    if label not in look.regions:
        raise NotFoundError(f"The explanation has no region {label}.", "Its JSON lists them.")
    return look.regions[label]


def unit_segmentation(look: ImageActivations, index: int, name: str, label: int | None, image: Image) -> bytes:
    """Return what a unit answers to as a segmentation (``.seg.nrrd``) of one segment on the image's own grid.

    Args:
        look: What the units say of the image.
        index: Of the unit.
        name: Of the unit, and of the segment.
        label: See ``unit_mask``.
        image: The image.

    Raises:
        NotFoundError: if there is no such region, or the unit answers nowhere.
    """
    mask = unit_mask(look, index, label)
    if not mask.any():
        raise NotFoundError(f"Unit {name} answers nowhere in this image.", "Choose another unit.")
    region = RegionMask(mask.reshape(look.grid.shape), look.grid).on(image.geometry)
    labels = image.with_array(region.mask[None].astype(np.uint8))
    red, green, blue = (part / 255 for part in COLOUR)
    with tempfile.TemporaryDirectory() as folder:
        path = write_label_map(labels, Path(folder) / "unit.seg.nrrd", [SegmentInfo(1, name, (red, green, blue))])
        return path.read_bytes()
