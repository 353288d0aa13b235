"""How well texture tells made images from real ones: the area under a classifier's ROC curve, folds by patient.

A figure of 0.5 means that nothing was found, 1 that every image was told apart. It is a property of these features and
of these images: it is read beside its controls, which are real images of the same patients in two halves, and the
autoencoder's reconstructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

FOLDS = 5
LEAST_PATIENTS = 10
"""Fewer patients than this make no folds."""
GREY_LEVELS = 16
RADIUS_BINS = 8
DRAWS = 1000
TREES = 100


@dataclass(frozen=True)
class ToldApart:
    """How well two sets of images are told apart.

    Attributes:
        auc: Area under the ROC curve in [0, 1], over all held-out images.
        low: 2.5 % quantile of it, patients drawn with replacement.
        high: 97.5 % quantile.
        images: Number of images of both sets.
    """

    auc: float
    low: float
    high: float
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, in the form of a figure of a table."""
        return {
            "mean": round(self.auc, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "images": self.images,
        }


def texture_features(image: np.ndarray) -> np.ndarray:
    """Describe the texture of an image: grain, streaks, edges, local patterns, spectrum.

    Args:
        image: ``(channels, *size)`` float32 in [0, 1]; of a volume the three middle slices are described.

    Returns:
        ``(d,)`` float64, the mean over channels and slices.
    """
    slices = [plane for channel in image for plane in _middle_slices(channel)]
    return np.asarray(np.mean([_of_slice(plane.astype(np.float64)) for plane in slices], axis=0))


def told_apart(
    real: np.ndarray, made: np.ndarray, real_patients: Sequence[str], made_patients: Sequence[str], seed: int = 0
) -> ToldApart | None:
    """Train on some patients to tell real images from made ones, and ask about the others.

    Args:
        real: ``(n, d)`` features.
        made: ``(m, d)`` features.
        real_patients: ``n`` names; all images of a patient are in the same fold.
        made_patients: ``m`` names.
        seed: Of the folds, the classifier and the bootstrap.

    Returns:
        None if there are too few patients.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    features = np.concatenate([real, made])
    labels = np.repeat([0, 1], [len(real), len(made)])
    patients = np.array([*real_patients, *made_patients])
    known, number = np.unique(patients, return_inverse=True)
    if len(known) < LEAST_PATIENTS:
        return None
    scores = np.zeros(len(labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for taught, asked in folds.split(features, labels, patients):
        trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=seed)
        scores[asked] = trees.fit(features[taught], labels[taught]).predict_proba(features[asked])[:, 1]
    wins = _wins(scores[labels == 1], scores[labels == 0])
    drawn = _drawn_areas(wins, number[labels == 1], number[labels == 0], np.random.default_rng(seed))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return ToldApart(float(wins.mean()), float(low), float(high), len(labels))


def _wins(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Compare the scores of made and real images, ``(m,)`` and ``(r,)``, in pairs.

    Returns:
        ``(m, r)``, 1 where the made image scores higher, 0.5 where both are equal, else 0. The mean is the area under
        the ROC curve (Mann and Whitney 1947).
    """
    return np.asarray((made[:, None] > real) + 0.5 * (made[:, None] == real))


def _drawn_areas(wins: np.ndarray, made: np.ndarray, real: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the areas under the ROC curve where patients are drawn with replacement, ``DRAWS`` times.

    Args:
        wins: ``(m, r)``, see ``_wins``.
        made: ``(m,)`` indices of patients.
        real: ``(r,)`` likewise.
        generator: Draws the patients.

    Returns:
        One area for each draw that has images of both kinds.
    """
    count = int(max(made.max(), real.max())) + 1
    times = np.stack([np.bincount(generator.choice(count, count), minlength=count) for _ in range(DRAWS)])
    pairs = times[:, made].sum(axis=1) * times[:, real].sum(axis=1)
    won = ((times[:, made] @ wins) * times[:, real]).sum(axis=1)
    return np.asarray(won[pairs > 0] / pairs[pairs > 0])


def _middle_slices(channel: np.ndarray) -> list[np.ndarray]:
    if channel.ndim == 2:
        return [channel]
    return [np.take(channel, channel.shape[axis] // 2, axis=axis) for axis in range(channel.ndim)]


def _of_slice(plane: np.ndarray) -> np.ndarray:
    """Return the features of ``(rows, columns)`` float64 in [0, 1]."""
    return np.concatenate([_grain(plane), _patterns(plane), _grey_levels(plane), _spectrum(plane)])


def _grain(plane: np.ndarray) -> np.ndarray:
    """Quantiles of the Laplacian everywhere and at flat places, and how directed the finest detail is there."""
    laplacian = np.abs(ndimage.laplace(plane))
    edges = ndimage.gaussian_gradient_magnitude(plane, 1.0)
    flat = edges <= np.median(edges)
    rows, columns = (np.abs(np.diff(plane, axis=axis)).mean() for axis in (0, 1))
    shares = [0.1, 0.25, 0.5, 0.75, 0.9]
    return np.array(
        [
            *np.quantile(laplacian[flat], shares),
            *np.quantile(laplacian, shares),
            *np.quantile(edges, shares),
            np.log((rows + 1e-6) / (columns + 1e-6)),
            np.abs(np.log((rows + 1e-6) / (columns + 1e-6))),
        ]
    )


def _patterns(plane: np.ndarray) -> np.ndarray:
    """Histograms of uniform local binary patterns of radius 1 and 2 (Ojala et al. 2002; scikit-image)."""
    from skimage.feature import local_binary_pattern

    levels = np.round(255 * plane.clip(0, 1)).astype(np.uint8)
    found = []
    for radius in (1, 2):
        codes = local_binary_pattern(levels, 8, radius, method="uniform")
        found.append(np.bincount(codes.astype(int).ravel(), minlength=10)[:10] / codes.size)
    return np.concatenate(found)


def _grey_levels(plane: np.ndarray) -> np.ndarray:
    """Properties of the grey-level co-occurrence matrix at distances 1 and 2 (Haralick et al. 1973; scikit-image)."""
    from skimage.feature import graycomatrix, graycoprops

    levels = np.minimum((plane.clip(0, 1) * GREY_LEVELS).astype(np.uint8), GREY_LEVELS - 1)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(levels, [1, 2], angles, levels=GREY_LEVELS, symmetric=True, normed=True)
    found = []
    for name in ("contrast", "homogeneity", "energy", "correlation"):
        values = graycoprops(matrix, name)
        found += [values.mean(axis=1), np.ptp(values, axis=1)]
    return np.concatenate(found)


def _spectrum(plane: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean power in rings of spatial frequency up to Nyquist."""
    window = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(plane.shape[0]), np.fft.fftfreq(plane.shape[1]), indexing="ij"))
    ring = np.minimum((frequency / 0.5 * RADIUS_BINS).astype(int), RADIUS_BINS)
    total = np.bincount(ring.ravel(), power.ravel(), RADIUS_BINS + 1)[:RADIUS_BINS]
    return np.log(total / np.bincount(ring.ravel(), minlength=RADIUS_BINS + 1)[:RADIUS_BINS] + 1e-12)
