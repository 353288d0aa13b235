"""What names are made from: of each explanation and of each named region, what the units say of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from otherwise.concepts.activations import ImageActivations
from otherwise.concepts.description import FEATURES, describe_region
from otherwise.concepts.embedding import embeddings_of
from otherwise.concepts.places import describe_explanation, share_in_regions
from otherwise.concepts.query import overlaps
from otherwise.concepts.units import UnitError
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Image

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
        descriptions: ``(regions, features)`` on the image's own grid, see ``describe_region``; no rows where they were
            not made.
        tissue: ``(places, features)`` of places outside all regions.
        inside: ``()`` share of the effect for the target that lies in the regions, in [0, 1].
    """

    labels: np.ndarray
    effects: np.ndarray
    embeddings: np.ndarray
    overlaps: np.ndarray
    together: np.ndarray
    peaks: np.ndarray
    descriptions: np.ndarray = field(default_factory=lambda: np.zeros((0, len(FEATURES)), np.float32))
    tissue: np.ndarray = field(default_factory=lambda: np.zeros((0, len(FEATURES)), np.float32))
    inside: np.ndarray = field(default_factory=lambda: np.array(1.0))

    @property
    def shares(self) -> np.ndarray:
        """Return the share of the decisive change of each region: ``(regions,)`` in [0, 1]."""
        return np.asarray(self.effects / max(float(self.effects.sum()), 1e-12))


def features_of_explanation(activations: ImageActivations, explanation: Explanation) -> RegionFeatures:
    """Ask the units about the decisive regions of an explanation; ``activations`` are of that explanation."""
    chosen = [region for region in explanation.regions if region.label in activations.regions and region.effect > 0]
    labels = [region.label for region in chosen]
    found = _features(
        activations, [activations.regions[label] for label in labels], labels, [region.effect for region in chosen]
    )
    descriptions, tissue = describe_explanation(explanation, found.labels)
    return replace(
        found, descriptions=descriptions, tissue=tissue, inside=np.array(share_in_regions(explanation), np.float32)
    )


def features_of_region(
    activations: ImageActivations, mask: np.ndarray, image: Image | None = None, native: np.ndarray | None = None
) -> RegionFeatures:
    """Return the features of a region that was drawn or chosen; its effect is not measured and is 0.

    Args:
        activations: At its image, or at an explanation of it.
        mask: bool ``size``, not empty.
        image: In its own unit.
        native: The region on that image's grid, bool ``(i, j, k)``.

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
    found = _features(activations, [mask], [best if alike.get(best, 0.0) >= SAME else 0], [0.0])
    if image is None or native is None:
        return found
    return replace(found, descriptions=describe_region(image, native)[None])


def _features(
    activations: ImageActivations, masks: list[np.ndarray], labels: list[int], effects: list[float]
) -> RegionFeatures:
    units = len(activations.levels)
    whole = np.any(masks, axis=0) if masks else np.zeros(activations.size, bool)
    each = [overlaps(activations.levels, mask) for mask in masks]
    return RegionFeatures(
        labels=np.array(labels, np.int64),
        effects=np.array(effects, np.float32),
        embeddings=embeddings_of(activations.maps, masks),
        overlaps=np.stack(each).astype(np.float32) if each else np.zeros((0, units), np.float32),
        together=overlaps(activations.levels, whole).astype(np.float32),
        peaks=activations.maps.peaks()[0].astype(np.float32),
    )
