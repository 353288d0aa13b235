"""How well a map of importance points at the feature that decides.

A map is ``size`` float; larger is more important. Truth is bool ``size`` with at least one voxel in and one out of it.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score


def average_precision(importance: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the curve of precision against recall over all thresholds (scikit-learn).

    Returns:
        In [0, 1]; a random map scores the share of voxels that are true.
    """
    return float(average_precision_score(truth.ravel(), importance.ravel()))


def pointing_game(importance: np.ndarray, truth: np.ndarray) -> float:
    """Return whether the most important voxel is true (Zhang et al., arXiv 1608.00507), without tolerance.

    Returns:
        1 or 0; where several voxels share the maximum, the share of them that are true.
    """
    return float(truth[importance == importance.max()].mean())


def energy_inside(importance: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the positive importance that lies on the feature (Wang et al., Score-CAM, arXiv 1910.01279).

    Returns:
        In [0, 1]; 0 where nothing is positive.
    """
    positive = np.maximum(importance.astype(np.float64), 0)
    total = positive.sum()
    return float(positive[truth].sum() / total) if total > 0 else 0.0
