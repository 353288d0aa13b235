"""What names are made from: of each explanation and of each named region, what the units say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.concepts.activations import ImageActivations
from otherwise.concepts.embedding import embeddings_of
from otherwise.concepts.query import overlaps
from otherwise.concepts.units import UnitError
from otherwise.explain.explanation import Explanation

SAME = 0.8
"""A drawn region that overlaps a decisive one (intersection over union) by this much means that very region."""


@dataclass(frozen=True, eq=False)
class RegionFeatures:
    """Some regions of one image, as the units see them.

    Attributes:
        labels: ``(regions,)`` int: their values in a label map; those that the classifier's grid is too coarse for, and
            those that speak against the target, are left out.
        effects: ``(regions,)`` measured effects; zero for a region that was only drawn.
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


def features_of_explanation(activations: ImageActivations, explanation: Explanation) -> RegionFeatures:
    """Ask the units about the decisive regions of an explanation; ``activations`` are of that explanation."""
    chosen = [region for region in explanation.regions if region.label in activations.regions and region.effect > 0]
    labels = [region.label for region in chosen]
    return _features(
        activations, [activations.regions[label] for label in labels], labels, [region.effect for region in chosen]
    )


def features_of_region(activations: ImageActivations, mask: np.ndarray) -> RegionFeatures:
    """Ask the units about a region that somebody has drawn or chosen; it has no measured effect, which stands as 0.

    Args:
        activations: At its image, or at an explanation of it.
        mask: bool ``size``, not empty.

    Returns:
        Features of one region. Its label is that of the decisive region that it is (the same but
        for a few voxels), or 0.

    Raises:
        UnitError: if the region is empty.
    """
    if not mask.any():
        raise UnitError("The region is empty where the classifier looks.", "Draw it there.")
    alike = {label: float(overlaps(region[None], mask)[0]) for label, region in activations.regions.items()}
    best = max(alike, key=lambda label: alike[label], default=0)
    return _features(activations, [mask], [best if alike.get(best, 0.0) >= SAME else 0], [0.0])


def _features(
    activations: ImageActivations, masks: list[np.ndarray], labels: list[int], effects: list[float]
) -> RegionFeatures:
    units = len(activations.masks)
    whole = np.any(masks, axis=0) if masks else np.zeros(activations.size, bool)
    each = [overlaps(activations.masks, mask) for mask in masks]
    return RegionFeatures(
        labels=np.array(labels, np.int64),
        effects=np.array(effects, np.float32),
        embeddings=embeddings_of(activations.maps, masks),
        overlaps=np.stack(each).astype(np.float32) if each else np.zeros((0, units), np.float32),
        together=overlaps(activations.masks, whole).astype(np.float32),
        peaks=activations.maps.peaks()[0].astype(np.float32),
    )
