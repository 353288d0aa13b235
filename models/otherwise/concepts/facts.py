"""What names are made from: of each explanation and of each named region, what the units say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.annotations.region import RegionMask
from otherwise.blackbox.protocol import InputSpec
from otherwise.concepts.embedding import embeddings_of
from otherwise.concepts.query import overlaps
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.units import UnitReader
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry
from otherwise.images.resampling import shown_on


@dataclass(frozen=True, eq=False)
class Facts:
    """Some regions of one image, as the units see them.

    Attributes:
        labels: ``(regions,)`` int: their values in a label map; those that the classifier's grid is too coarse for, and
            those that speak against the target, are left out.
        effects: ``(regions,)`` measured effects; positive.
        embeddings: ``(regions, 2 * units)``, see ``region_embeddings``.
        overlaps: ``(regions, units)`` in [0, 1], see ``overlaps``.
        together: ``(units,)`` the same for all regions taken as one.
        peaks: ``(units,)`` the strongest activation of each unit in the whole image.
    """

    labels: np.ndarray
    effects: np.ndarray
    embeddings: np.ndarray
    overlaps: np.ndarray
    together: np.ndarray
    peaks: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """``(regions,)``: share of the decisive change."""
        return np.asarray(self.effects / max(float(self.effects.sum()), 1e-12))


def facts_of_explanation(reader: UnitReader, table: UnitTable, inputs: InputSpec, explanation: Explanation) -> Facts:
    """Ask the units about the decisive regions.

    Args:
        reader: Whose units.
        table: What they do otherwise.
        inputs: What the classifier wants.
        explanation: Tells its grid.

    Raises:
        ValueError: if it does not tell its grid; earlier versions did not.
    """
    if explanation.grid is None:
        raise ValueError("the explanation does not tell where the classifier looked")
    grid, volumes, dims = explanation.grid, explanation.volumes, inputs.spatial_dims
    image, counterfactual = (
        shown_on(volume, grid, dims, inputs.intensity, inputs.channels)
        for volume in (volumes.original, volumes.counterfactual)
    )
    masks, labels, effects = [], [], []
    for region in explanation.regions:
        mask = volumes.regions.array[0] == region.label
        if mask.any() and region.effect > 0:
            masks.append(region_on(RegionMask(mask, volumes.regions.geometry), grid, dims))
            labels.append(region.label)
            effects.append(region.effect)
    return facts_of_regions(reader, table, image, counterfactual, masks, labels, effects)


def facts_of_regions(
    reader: UnitReader,
    table: UnitTable,
    image: np.ndarray,
    counterfactual: np.ndarray,
    masks: list[np.ndarray],
    labels: list[int],
    effects: list[float],
) -> Facts:
    """The same on the classifier's grid.

    Args:
        reader: Whose units.
        table: What they do otherwise.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise; the image itself where nobody has made one.
        masks: bool ``size``, none empty.
        labels: One for each.
        effects: One for each; positive.
    """
    size = image.shape[1:]
    maps = reader.read(np.stack([image, counterfactual]))
    units = maps.first().above(table.thresholds, size)
    whole = np.any(masks, axis=0) if masks else np.zeros(size, bool)
    return Facts(
        labels=np.array(labels, np.int64),
        effects=np.array(effects, np.float32),
        embeddings=embeddings_of(maps, masks),
        overlaps=np.stack([overlaps(units, mask) for mask in masks]).astype(np.float32)
        if masks
        else np.zeros((0, len(units)), np.float32),
        together=overlaps(units, whole).astype(np.float32),
        peaks=maps.peaks()[0].astype(np.float32),
    )


def region_on(region: RegionMask, grid: Geometry, spatial_dims: int) -> np.ndarray:
    """A region on the classifier's grid: bool ``size``, at least one voxel.

    Raises:
        RegionError: if it lies outside.
    """
    mask = region.on(grid).mask
    return np.asarray(mask[..., 0] if spatial_dims == 2 else mask)
