"""Where to look closer: between the patches of a coarse pass, around those that are suspicious."""

from __future__ import annotations

from itertools import product

import numpy as np

PARTS = 3
"""Parts into which the step between patches is divided."""
SUSPICIOUS = 0.02
"""Probability of a wanted class from which it is worth looking closer."""
ONE_SPREAD = 0.25
"""The same for values: about one spread before the threshold, see ``Concern.scores``."""
MOST_MORE = 3
"""Patches of the fine pass for each one of the coarse pass, at most."""


def finer_starts(
    starts: np.ndarray, scores: np.ndarray, step: np.ndarray, limit: np.ndarray, least: float = SUSPICIOUS
) -> np.ndarray:
    """Return patches around suspicious ones, a third of the coarse step apart, in the order of their rows.

    Together with the coarse patches they are those that a plain window with the finer step would look at there.

    Args:
        starts: ``(patches, 2 or 3)`` first voxels of the coarse pass.
        scores: ``(patches,)`` probabilities of what is wanted.
        step: Voxels between coarse patches along each axis.
        limit: Largest first voxel along each axis.
        least: Probability from which a patch is suspicious.

    Returns:
        ``(more, 2 or 3)`` first voxels, none of which is in ``starts``: at most ``MOST_MORE`` for each of those, the
        ones about the most suspicious.
    """
    parts = np.round(step / PARTS).astype(int)
    offsets = np.array([each for each in product((-1, 0, 1), repeat=len(step)) if any(each)]) * parts
    offsets = np.unique(offsets[np.any(offsets != 0, axis=1)], axis=0)
    order = np.argsort(-scores, kind="stable")
    suspicious = order[scores[order] >= least]
    if not len(suspicious) or not len(offsets):
        return np.zeros((0, starts.shape[1]), starts.dtype)
    around = np.clip(starts[suspicious, None] + offsets, 0, limit).reshape(-1, starts.shape[1])
    _, first = np.unique(np.concatenate([starts, around]), axis=0, return_index=True)
    new = np.sort(first[first >= len(starts)]) - len(starts)
    return np.unique(around[new[: MOST_MORE * len(starts)]], axis=0)
