"""Describe the decisive regions of an explanation, and places of ordinary tissue outside all of them."""

from __future__ import annotations

import zlib

import numpy as np
from scipy import ndimage

from otherwise.concepts.description import FEATURES, describe_region
from otherwise.explain.explanation import Explanation

TISSUE_PLACES = 3
"""Places of ordinary tissue that are taken from one explanation."""
CLEAR = 3.0
"""Millimetres that a place of tissue keeps clear of every region."""
TRIES = 48
"""Places that are tried before an explanation is said to have no room for one."""


def describe_explanation(explanation: Explanation, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Describe regions and tissue on the image's own grid and in its own unit.

    Args:
        explanation: Its original is described.
        labels: Values of the regions in the label map, ``(regions,)``.

    Returns:
        ``(regions, features)`` and ``(places, features)`` float32. A place has the shape of one of the regions; which
        ones are taken depends on the explanation's id alone.
    """
    image, regions = explanation.volumes.original, explanation.volumes.regions.array[0]
    own = [describe_region(image, regions == label) for label in labels.tolist()]
    return _stacked(own), _stacked([describe_region(image, place) for place in places_of(explanation)])


def places_of(explanation: Explanation) -> list[np.ndarray]:
    """Return the places of tissue that are taken from an explanation, always the same: masks bool ``(i, j, k)``."""
    spacing = np.asarray(explanation.volumes.original.geometry.spacing)
    rng = np.random.default_rng(zlib.crc32(explanation.id.encode()))
    return tissue_places(explanation.volumes.regions.array[0], spacing, rng)


def tissue_places(
    regions: np.ndarray, spacing: np.ndarray, rng: np.random.Generator, count: int = TISSUE_PLACES
) -> list[np.ndarray]:
    """Move the shapes of regions to random places outside all of them.

    Args:
        regions: Label map ``(i, j, k)``; 0 is outside.
        spacing: Millimetres.
        rng: Chooses.
        count: Most places.

    Returns:
        Masks bool ``(i, j, k)``; fewer than ``count`` where there is no room.
    """
    boxes = [(label, box) for label, box in enumerate(ndimage.find_objects(regions), 1) if box is not None]
    margin = np.ceil(CLEAR / spacing).astype(int) * (np.array(regions.shape) > 1)
    found: list[np.ndarray] = []
    for attempt in range(TRIES if boxes else 0):
        label, box = boxes[attempt % len(boxes)]
        shape = regions[box] == label
        low = np.array(
            [rng.integers(0, edge - part + 1) for edge, part in zip(regions.shape, shape.shape, strict=True)]
        )
        around = tuple(
            slice(max(0, a - m), a + n + m) for a, n, m in zip(low, shape.shape, margin.tolist(), strict=True)
        )
        if not regions[around].any():
            mask = np.zeros(regions.shape, bool)
            mask[tuple(slice(a, a + n) for a, n in zip(low, shape.shape, strict=True))] = shape
            found.append(mask)
        if len(found) == count:
            break
    return found


def share_in_regions(explanation: Explanation) -> float:
    """Return the share of the effect for the target that lies in the regions, in [0, 1]; 0 where there is none."""
    effect = np.maximum(explanation.volumes.effect.array[0], 0)
    total = float(effect.sum())
    return float(effect[explanation.volumes.regions.array[0] > 0].sum()) / total if total > 0 else 0.0


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    return np.stack(rows) if rows else np.zeros((0, len(FEATURES)), np.float32)
