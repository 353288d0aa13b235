"""Near duplicates: the same image exported, compressed or scaled once more.

A perceptual hash of each image is compared (Zauner 2010, pHash): the signs of its low frequencies about their median,
which neither the resolution nor a linear change of grey values moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.nn.functional import adaptive_avg_pool3d

from otherwise.images.image import Image

EDGE = 32
"""Samples along each axis of the reduced image."""
LOW_FREQUENCIES = {2: 16, 3: 6}
"""Frequencies along each axis that are compared, in two and three dimensions."""
MOST_DIFFERENT = 0.1
"""Share of the bits in which near duplicates differ at most."""
ROWS = 1024


def perceptual_hash(image: Image) -> np.ndarray:
    """Return the hash of an image, bool ``(255,)`` of a plane and ``(215,)`` of a volume."""
    flat = image.geometry.shape[2] == 1
    voxels = torch.from_numpy(image.array.mean(axis=0, dtype=np.float32))[None]
    reduced = adaptive_avg_pool3d(voxels, (EDGE, EDGE, 1 if flat else EDGE))[0].numpy()
    frequencies = dctn(reduced[..., 0] if flat else reduced, norm="ortho")
    low = frequencies[(slice(LOW_FREQUENCIES[frequencies.ndim]),) * frequencies.ndim].ravel()[1:]
    return np.asarray(low > np.median(low))


def merged_groups(groups: Sequence[str], hashes: Sequence[np.ndarray | None]) -> list[str]:
    """Merge the groups of images that are near duplicates of each other.

    Args:
        groups: Name of the group that each image is in.
        hashes: Of each image; None of one that was not read. Planes and volumes are never alike.

    Returns:
        For each image the first name of all groups that belong together.
    """
    names = list(dict.fromkeys(groups))
    places = {name: place for place, name in enumerate(names)}
    number = np.array([places[name] for name in groups])
    pairs = [np.zeros((0, 2), int)]
    for bits in {len(each) for each in hashes if each is not None}:
        chosen = np.array([n for n, each in enumerate(hashes) if each is not None and len(each) == bits])
        pairs.append(number[chosen[_near(np.stack([hashes[n] for n in chosen]))]])
    first, second = np.concatenate(pairs).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    _, component = connected_components(links, directed=False)
    leader = {part: names[n] for n, part in reversed(list(enumerate(component)))}
    return [leader[component[n]] for n in number]


def _near(hashes: np.ndarray) -> np.ndarray:
    """Return the pairs ``(n, 2)`` of hashes ``(images, bits)`` that differ in few bits."""
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    least = signs.shape[1] * (1 - 2 * MOST_DIFFERENT)
    found = []
    for begin in range(0, len(signs), ROWS):
        rows, columns = np.nonzero(signs[begin : begin + ROWS] @ signs.T >= least)
        found.append(np.stack([rows + begin, columns], axis=1)[rows + begin < columns])
    return np.concatenate(found)
