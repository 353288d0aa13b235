"""Faithfulness: the black box's answers while important voxels are removed or added; needs no truth."""

from __future__ import annotations

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.effect import measured_effect, put_in_and_leave_out, windows

STEPS = 50
"""Images between nothing and everything; the curves' points."""


def deletion_auc(
    classifier: BlackBox, image: np.ndarray, importance: np.ndarray, label: int, baseline: np.ndarray
) -> float:
    """Return the mean probability of a class while voxels are replaced, the most important first (RISE).

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        importance: ``size``.
        label: Index of the class that the map is about.
        baseline: ``(channels, *size)``: what voxels are replaced by.

    Returns:
        Area under the curve over the share replaced (trapezoids), in [0, 1]; lower is better. arXiv 1806.07421.
    """
    return _area(_replaced(classifier, image, baseline, importance)[:, label])


def insertion_auc(
    classifier: BlackBox, image: np.ndarray, importance: np.ndarray, label: int, baseline: np.ndarray
) -> float:
    """Return the same while voxels come into the baseline (arXiv 1806.07421); higher is better."""
    return _area(_replaced(classifier, baseline, image, importance)[:, label])


def cout(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    source: int,
    target: int,
) -> float:
    """Return the counterfactual transition score: the counterfactual's voxels come in, the largest change first.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        source: Index of the class of the image.
        target: Index of the class of the counterfactual.

    Returns:
        Area under the target's probability minus that under the source's, in [-1, 1]; higher is better: few voxels
        suffice (Khorram & Fuxin, Cycle-Consistent Counterfactuals by Latent Transformations, CVPR 2022).
    """
    change = np.abs(counterfactual - image).max(axis=0)
    answers = _replaced(classifier, image, counterfactual, change)
    return _area(answers[:, target]) - _area(answers[:, source])


def effect_correlation(
    classifier: BlackBox, image: np.ndarray, counterfactual: np.ndarray, true: np.ndarray, target: int
) -> float:
    """Return whether the parts of a change matter to the black box as the same parts of the true change do.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        true: Likewise: the true counterfactual.
        target: Index of the class of the counterfactual.

    Returns:
        Pearson's correlation of the measured effects of all windows, see ``influence.effect``; 0 where a change has no
        effect at all.
    """
    masks = np.stack(list(windows(image.shape[1:])))
    effects = []
    for made in (counterfactual, true):
        before, after = classifier.predict(np.stack([image, made]).astype(np.float32))
        effects.append(
            measured_effect(before, after, *put_in_and_leave_out(classifier, image, made, masks), target=target)
        )
    if min(float(np.std(each)) for each in effects) < 1e-9:
        return 0.0
    return float(np.corrcoef(effects[0], effects[1])[0, 1])


def _replaced(classifier: BlackBox, image: np.ndarray, other: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Return ``(STEPS + 1, classes)`` while one image's most important voxels become those of another."""
    order = np.argsort(-importance.ravel(), kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    rank = rank.reshape(importance.shape)
    counts = np.rint(np.linspace(0, order.size, STEPS + 1)).astype(int)
    images = np.stack([np.where(rank < count, other, image) for count in counts]).astype(np.float32)
    return np.asarray(classifier.predict(images), dtype=np.float64)


def _area(curve: np.ndarray) -> float:
    return float(((curve[:-1] + curve[1:]) / 2).mean())
