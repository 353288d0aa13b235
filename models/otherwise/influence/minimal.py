"""The smallest part of a change that still flips the black box."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.parts import composite, ranks, soft

AT_ONCE = 2
"""Parts that are asked about at once: more cost questions beyond the first that flips."""


def minimal_mask(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    effect: np.ndarray,
    target: int,
    rounds: int = 2,
) -> np.ndarray:
    """Grow the part with the strongest effect until it flips the black box.

    Voxels are ranked by their measured effect; the share of voxels taken is bracketed, eight shares a round. They are
    asked about a few at a time, the smallest first, until one flips.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise; must flip the black box.
        effect: ``size``, see ``measure_effect``.
        target: Index of the target class.
        rounds: How often the bracket is narrowed, each time by at most eight queries.

    Returns:
        bool ``size``; everything, if no part was enough.
    """
    # Equal effects (flat parts of the map) are ranked by the size of the change.
    change = np.abs(counterfactual - image).mean(axis=0)
    rank = ranks(effect, ties=change)
    low, high = 0.0, 1.0
    shares = np.geomspace(1 / 256, 1, 9)[:-1]
    for _ in range(rounds):
        parts = (composite(image, counterfactual, soft(rank < share * rank.size)) for share in shares)
        first = _first_flip(classifier, parts, target)
        if first is not None:
            high, low = float(shares[first]), float(shares[first - 1]) if first else low
        else:
            low = float(shares[-1])
        shares = np.linspace(low, high, 10)[1:-1]
    return np.asarray(rank < high * rank.size)


def _first_flip(classifier: BlackBox, images: Iterable[np.ndarray], target: int) -> int | None:
    """Return the number of the first image for which the classifier says the target; None: there is none."""
    rule, remaining = DecisionRule.of(classifier), iter(images)
    asked = 0
    while batch := list(islice(remaining, AT_ONCE)):
        flips = rule.predicts(classifier.predict(np.stack(batch)), target)
        if flips.any():
            return asked + int(flips.argmax())
        asked += len(batch)
    return None
