"""What a region of an explanation looks like, in numbers: what is there, and what the counterfactual makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otherwise.concepts.units import UnitMaps, UnitReader


def region_embeddings(
    reader: UnitReader, image: np.ndarray, counterfactual: np.ndarray, regions: Sequence[np.ndarray]
) -> np.ndarray:
    """Describe regions by the units.

    Args:
        reader: Whose units.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise; the image itself where nobody has made one.
        regions: Masks bool ``size``, none empty.

    Returns:
        ``(regions, 2 * units)`` float32: the mean activation of each unit there, and by how much the counterfactual
        changes it. The change says which of the things there mattered to the black box.
    """
    maps = reader.read(np.stack([image, counterfactual]))
    return embeddings_of(maps, regions)


def embeddings_of(maps: UnitMaps, regions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the same from the units' maps of both images, ``(2, units, *grid)`` each."""
    width = 2 * len(maps.names)
    rows = [np.concatenate([within[0], within[1] - within[0]]) for within in map(maps.within, regions)]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, width), np.float32)
