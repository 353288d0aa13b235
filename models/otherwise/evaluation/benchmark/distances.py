"""Distances of a counterfactual from the image and from the true counterfactual.

All images are ``(channels, *size)`` in [0, 1].
"""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

WINDOW = 7
"""Edge of the window of structural similarity, as in Wang et al. 2004 where it is not a Gaussian."""


def l1(image: np.ndarray, other: np.ndarray) -> float:
    """Return the mean absolute difference."""
    return float(np.abs(image - other).mean())


def changed_fraction(image: np.ndarray, other: np.ndarray, floor: float | np.ndarray) -> float:
    """Return the share of voxels that differ by more than a floor: one value, or ``size``."""
    return float((np.abs(image - other).max(axis=0) > floor).mean())


def similarity(image: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return the mean structural similarity of the voxels of a mask (Wang et al. 2004; scikit-image), over channels.

    Args:
        image: One.
        other: The other.
        where: bool ``size`` with at least one voxel.
    """
    edge = min(WINDOW, *image.shape[1:])
    edge -= 1 - edge % 2  # has to be odd
    maps = [
        structural_similarity(a.astype(np.float64), b.astype(np.float64), win_size=edge, data_range=1.0, full=True)[1]
        for a, b in zip(image, other, strict=True)
    ]
    return float(np.mean([each[where].mean() for each in maps]))


def peak_signal_to_noise(image: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return decibels over the voxels of a mask, for values in [0, 1]; 100 for equal images."""
    error = float(np.square(image[:, where].astype(np.float64) - other[:, where]).mean())
    return min(100.0, -10 * float(np.log10(error))) if error > 0 else 100.0


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Return the Fréchet distance of two sets of features (Heusel et al., arXiv 1706.08500; MONAI).

    Args:
        features: ``(n, d)``.
        others: ``(m, d)``; with fewer samples than dimensions the figure is biased upwards, for all methods alike.
    """
    import torch
    from monai.metrics import FIDMetric

    pair = (torch.from_numpy(np.asarray(each, np.float64)) for each in (features, others))
    return float(FIDMetric()(*pair))


def kernel_distance(features: np.ndarray, others: np.ndarray) -> float:
    """Return the unbiased squared MMD with the cubic kernel (Binkowski et al., KID, arXiv 1801.01401).

    Args:
        features: ``(n, d)``, n > 1.
        others: ``(m, d)``, m > 1.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    def mean_of_pairs(kernel: np.ndarray) -> float:
        n = len(kernel)
        return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))

    own, theirs = (polynomial_kernel(each, degree=3, gamma=None, coef0=1) for each in (features, others))
    between = polynomial_kernel(features, others, degree=3, gamma=None, coef0=1)
    return mean_of_pairs(own) + mean_of_pairs(theirs) - 2 * float(between.mean())
