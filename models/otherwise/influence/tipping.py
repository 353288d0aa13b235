"""Effects of a classifier whose answers are exactly 0 or 1: how often a part tips the answer.

Such a classifier gives no log-odds to compare, and often no single part of the change flips it alone or un-flips it by
its absence. So the parts are put into the image one after the other, in random orders. In each order one part tips the
answer; the share of orders in which a part does so is its power index (Shapley & Shubik 1954), the Shapley value of a
yes-or-no answer. The tipping part is found by bisection, a few questions an order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox

EXACT = 1e-6
"""What an exact zero counts as, as a probability: effects then add up to 27.6 log-odds."""
ORDERS = 32
"""Random orders: half of them drawn, the other half their reverses."""
_BATCH = 16


def is_saturated(answers: np.ndarray) -> bool:
    """Return whether all probabilities ``(n, classes)`` are exactly 0 or 1, in double precision."""
    return bool(((answers == 0) | (answers == 1)).all())


def tipping_effect(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    masks: np.ndarray,
    target: int,
    checkpoint: Callable[[float], None] = lambda fraction: None,
    seed: int = 0,
) -> np.ndarray:
    """Measure how often each part of a change tips the answer.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        masks: ``(n, *size)`` in [0, 1], sum at most 1: share of the change that belongs to each part. What belongs to
            none of them is a part of its own, whose share is left out.
        target: Index of the target class.
        checkpoint: Called between batches with the share done; may raise to cancel.
        seed: Of the orders.

    Returns:
        ``(n,)`` log-odds, of which an exact 0 or 1 counts as ``EXACT``; all zero if the whole change does not flip.
    """
    rule = DecisionRule.of(classifier)
    before, after = classifier.predict(np.stack([image, counterfactual]).astype(np.float32))
    if rule.predicts(before, target) or not rule.predicts(after, target):
        return np.zeros(len(masks))
    parts = np.concatenate([masks, np.maximum(1 - masks.sum(axis=0), 0)[None]])
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(len(parts)) for _ in range(ORDERS // 2)]
    orders = np.array([*drawn, *(order[::-1] for order in drawn)])
    tips = np.zeros(len(parts))
    for start in range(0, len(orders), _BATCH):
        checkpoint(start / len(orders))
        some = orders[start : start + _BATCH]
        places = _tipping_places(classifier, rule, image, counterfactual, parts, some, target)
        np.add.at(tips, some[np.arange(len(some)), places], 1)
    whole = 2 * (np.log1p(-EXACT) - np.log(EXACT))
    return np.asarray(whole * tips[:-1] / len(orders))


def _tipping_places(
    classifier: BlackBox,
    rule: DecisionRule,
    image: np.ndarray,
    counterfactual: np.ndarray,
    parts: np.ndarray,
    orders: np.ndarray,
    target: int,
) -> np.ndarray:
    """Return for each order the place of the part that tips the answer, ``(orders,)``."""
    low, high = np.zeros(len(orders), int), np.full(len(orders), orders.shape[1])  # so many do not flip, so many do
    while (high - low).max() > 1:
        middle = (low + high) // 2
        made = np.stack([parts[order[:count]].sum(axis=0) for order, count in zip(orders, middle, strict=True)])
        images = image[None] + made[:, None] * (counterfactual - image)[None]
        flips = rule.predicts(classifier.predict(images.clip(0, 1).astype(np.float32)), target)
        undecided = high - low > 1
        high = np.where(undecided & flips, middle, high)
        low = np.where(undecided & ~flips, middle, low)
    return np.asarray(high - 1)
