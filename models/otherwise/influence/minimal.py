"""The smallest part of a change that still flips the black box."""

from __future__ import annotations

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.parts import composite, ranks, soft


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
        effect: ``size``, see ``measure_effect``.
        target: Index of the target class.
        rounds: Batches of eight queries.

    Returns:
        bool ``size``; everything, if no part was enough.
    """
    # Equal effects (flat parts of the map) are ranked by the size of the change.
    change = np.abs(counterfactual - image).mean(axis=0)
    rank = ranks(effect, ties=change)
    low, high = 0.0, 1.0
    shares = np.geomspace(1 / 256, 1, 9)[:-1]
    for _ in range(rounds):
        masks = [rank < share * rank.size for share in shares]
        tried = np.stack([composite(image, counterfactual, soft(mask)) for mask in masks])
        flips = DecisionRule.of(classifier).says(classifier.predict(tried), target)
        if flips.any():
            first = int(flips.argmax())
            high, low = float(shares[first]), float(shares[first - 1]) if first else low
        else:
            low = float(shares[-1])
        shares = np.linspace(low, high, 10)[1:-1]
    return np.asarray(rank < high * rank.size)
