"""From probabilities to the class that is said, with thresholds where a hospital has its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otherwise.blackbox.protocol import BlackBox


def thresholds_of(classifier: BlackBox) -> tuple[float, ...] | None:
    """Return the thresholds that a classifier's bundle declares; None: the most probable class is said."""
    inner = getattr(classifier, "inner", None)
    if inner is not None:
        return thresholds_of(inner)
    return getattr(getattr(classifier, "spec", None), "thresholds", None)


def decide(probabilities: np.ndarray, thresholds: Sequence[float] | None = None) -> int:
    """Say the class.

    Args:
        probabilities: ``(classes,)``.
        thresholds: Probability from which each class is said; None: the most probable one is.

    Returns:
        Index of the class whose probability is largest in units of its threshold. For two classes with thresholds
        ``1 - t`` and ``t`` that is the second from ``t`` on.
    """
    if thresholds is None:
        return int(np.argmax(probabilities))
    ratios = np.asarray(probabilities, np.float64) / np.asarray(thresholds, np.float64)
    ratios = np.where(ratios >= ratios.max() * (1 - 1e-12), 1.0, 0.0)
    return int(len(ratios) - 1 - ratios[::-1].argmax())
