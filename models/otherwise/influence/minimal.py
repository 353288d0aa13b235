"""The smallest part of a change that still flips the black box."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.agent.search import decides
from otherwise.blackbox.protocol import BlackBox


def soft(mask: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Blur the border of a bool mask ``size`` outwards, so that a composite has no seam; 1 inside, falling to 0."""
    return np.maximum(mask, ndimage.gaussian_filter(mask.astype(np.float32), width) * 2).clip(0, 1)


def composite(image: np.ndarray, counterfactual: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with the masked part of the change. ``mask`` is ``size`` in [0, 1]."""
    return np.asarray(image + mask[None] * (counterfactual - image), dtype=np.float32)


def minimal_mask(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    effect: np.ndarray,
    target: int,
    rounds: int = 2,
) -> np.ndarray:
    """Grow the part with the strongest effect until it flips the black box.

    Voxels are ranked by their measured effect; the share of voxels taken is bracketed, a batch of shares a round.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise; must flip the black box.
        effect: ``size``, see ``effect_map``.
        target: Index of the target class.
        rounds: Batches of eight queries.

    Returns:
        bool ``size``; everything, if no part was enough.
    """
    # Equal effects (flat parts of the map) are ranked by the size of the change.
    change = np.abs(counterfactual - image).mean(axis=0)
    order = np.lexsort((change.ravel(), effect.ravel()))[::-1]
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    rank = rank.reshape(effect.shape)

    low, high = 0.0, 1.0
    shares = np.geomspace(1 / 256, 1, 9)[:-1]
    for _ in range(rounds):
        masks = [rank < share * order.size for share in shares]
        tried = np.stack([composite(image, counterfactual, soft(mask)) for mask in masks])
        flips = decides(classifier.predict(tried), target, classifier.multi_label)
        if flips.any():
            first = int(flips.argmax())
            high, low = float(shares[first]), float(shares[first - 1]) if first else low
        else:
            low = float(shares[-1])
        shares = np.linspace(low, high, 10)[1:-1]
    return np.asarray(rank < high * order.size)
