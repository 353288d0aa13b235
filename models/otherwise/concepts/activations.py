"""An image as the classifier and the units see it, ready to be asked about region by region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otherwise.annotations.region import RegionMask
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import view, view_on
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.units import UnitMaps, UnitReader
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry, Image


@dataclass(frozen=True, eq=False)
class ImageActivations:
    """One image, or one explanation of it.

    Attributes:
        image: Its id.
        sha256: Its content.
        native: Its own grid.
        grid: The classifier's.
        maps: What the units say of the image and of its counterfactual (of the image twice, where there is none).
        seen: ``(channels, *size)`` float32 in [0, 1]: the image as the classifier sees it.
        levels: ``(units, *size)`` of the image, see ``UnitMaps.levels``.
        regions: bool ``size`` by label: decisive regions.
        explanation: Id, or empty.
    """

    image: str
    sha256: str
    native: Geometry
    grid: Geometry
    maps: UnitMaps
    seen: np.ndarray
    levels: np.ndarray
    regions: Mapping[int, np.ndarray]
    explanation: str = ""

    @property
    def size(self) -> tuple[int, ...]:
        """Return the edges of the classifier's grid in voxels, two or three."""
        return self.levels.shape[1:]

    def place(self, region: RegionMask) -> np.ndarray:
        """Return a region on the classifier's grid: bool ``size``, at least one voxel.

        Raises:
            RegionError: if it lies outside.
        """
        return region_on(region, self.grid, len(self.size))


def activations_of_image(
    classifier: BlackBox, reader: UnitReader, table: UnitTable, image: Image, slice_index: int | None
) -> ImageActivations:
    """Return the activations of an image without an explanation.

    Raises:
        ImageError: if the image does not suit the classifier.
    """
    inputs = classifier.inputs
    shown = view(image, inputs, slice_index)
    grid, seen = shown.grid, shown.array
    maps = reader.read(np.stack([seen, seen]))
    levels = maps.first().levels(table.thresholds, seen.shape[1:])
    return ImageActivations(image.id, image.sha256, image.geometry, grid, maps, seen, levels, {})


def activations_of_explanation(
    classifier: BlackBox, reader: UnitReader, table: UnitTable, explanation: Explanation
) -> ImageActivations | None:
    """Look at an explanation; None where it does not tell where the classifier looked."""
    grid, volumes, inputs = explanation.grid, explanation.volumes, classifier.inputs
    if grid is None:
        return None
    seen, made = (view_on(volume, grid, inputs).array for volume in (volumes.original, volumes.counterfactual))
    maps = reader.read(np.stack([seen, made]))
    regions = {}
    for region in explanation.regions:
        mask = volumes.regions.array[0] == region.label
        if mask.any():
            regions[region.label] = region_on(RegionMask(mask, volumes.regions.geometry), grid, inputs.spatial_dims)
    levels = maps.first().levels(table.thresholds, seen.shape[1:])
    return ImageActivations(
        explanation.image_id,
        explanation.image_sha256,
        volumes.original.geometry,
        grid,
        maps,
        seen,
        levels,
        regions,
        explanation.id,
    )


def region_on(region: RegionMask, grid: Geometry, spatial_dims: int) -> np.ndarray:
    """Return a region on the classifier's grid: bool ``size``, at least one voxel.

    Raises:
        RegionError: if it lies outside.
    """
    mask = region.on(grid).mask
    return np.asarray(mask[..., 0] if spatial_dims == 2 else mask)
