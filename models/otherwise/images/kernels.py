"""How voxels become fewer or more along one axis, in the manner of the libraries that classifiers are trained with.

Each kernel is a function ``(places, count, ratio) -> (len(places), count)`` weights, rows summing to one:

- ``places``: where the new voxels' centres lie, as fractional indices of the old ones;
- ``count``: number of old voxels;
- ``ratio``: new spacing over old one; above 1 the image shrinks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SNAP = 1e-7
"""Voxels; rounding, not distance."""
FULL_WIDTH = 2 * np.sqrt(2 * np.log(2))
"""Of a Gaussian at half its height, in standard deviations."""
_LEAST = 1e-4  # share of a Gaussian's peak below which it is cut off

Kernel = Callable[[np.ndarray, int, float], np.ndarray]


def linear(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Linear without smoothing: OpenCV's INTER_LINEAR, PyTorch's bilinear and trilinear (``align_corners=False``)."""
    places = np.clip(places, 0, count - 1)
    left = np.minimum(np.floor(places).astype(int), max(count - 2, 0))
    right = np.minimum(left + 1, count - 1)
    fraction = places - left
    rows = np.arange(len(places))
    weights = np.zeros((len(places), count))
    np.add.at(weights, (rows, left), 1 - fraction)
    np.add.at(weights, (rows, right), fraction)
    return weights


def gaussian(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Linear after a Gaussian that widens old voxels to the new ones (Cardoso et al., MICCAI 2015)."""
    places = np.clip(places, 0, count - 1)
    left = np.minimum(np.floor(places).astype(int), max(count - 2, 0))
    right = np.minimum(left + 1, count - 1)
    fraction = (places - left)[:, None]
    return (1 - fraction) * _blurred(left, count, ratio) + fraction * _blurred(right, count, ratio)


def antialias(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Weigh by a triangle as wide as the new voxels: Pillow's BILINEAR, torchvision's ``Resize(antialias=True)``."""
    return _filtered(places, count, ratio, 1.0, lambda x: np.maximum(1 - np.abs(x), 0))


def cubic(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Keys' cubic (a = -0.5) as wide as the new voxels: Pillow's BICUBIC, torchvision's with antialias."""
    return _filtered(places, count, ratio, 2.0, _keys)


def area(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Average over the new voxel's extent: OpenCV's INTER_AREA where the image shrinks."""
    if ratio < 1 + SNAP:
        return linear(places, count, ratio)
    old = np.arange(count)
    low, high = places[:, None] - ratio / 2, places[:, None] + ratio / 2
    overlap = np.clip(np.minimum(old + 0.5, high) - np.maximum(old - 0.5, low), 0, None)
    return np.asarray(overlap / np.maximum(overlap.sum(axis=1, keepdims=True), 1e-12))


def mean(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Average over every old voxel that the new one touches: PyTorch's and MONAI's ``area`` (adaptive pooling)."""
    old = np.arange(count)
    start = np.floor(places[:, None] + 0.5 - ratio / 2 + SNAP)
    stop = np.ceil(places[:, None] + 0.5 + ratio / 2 - SNAP)
    within = ((old >= start) & (old < stop)).astype(np.float64)
    return np.asarray(within / np.maximum(within.sum(axis=1, keepdims=True), 1))


def nearest(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Take the old voxel in which the new centre lies: Pillow's NEAREST, PyTorch's ``nearest-exact``."""
    chosen = np.clip(np.floor(places + 0.5 + SNAP), 0, count - 1).astype(int)
    return np.eye(count)[chosen]


KERNELS: dict[str, Kernel] = {
    "gaussian": gaussian,
    "linear": linear,
    "antialias": antialias,
    "cubic": cubic,
    "area": area,
    "mean": mean,
    "nearest": nearest,
}


def _filtered(
    places: np.ndarray, count: int, ratio: float, support: float, shape: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Weigh by a shape that is stretched where the image shrinks, and cut off at the image's border."""
    stretch = max(1.0, ratio)
    reach = support * stretch
    old = np.arange(count)
    middle = places[:, None] + 0.5
    within = (old >= np.floor(middle - reach + 0.5)) & (old < np.floor(middle + reach + 0.5))
    weights = np.where(within, shape((old + 0.5 - middle) / stretch), 0.0)
    sums = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.where(sums == 0, linear(places, count, ratio), weights / np.where(sums == 0, 1, sums)))


def _keys(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _blurred(centres: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Return ``(len(centres), count)`` weights of a Gaussian about whole indices; below 1e-4 of its peak it is 0."""
    deviation = blur(ratio) if ratio > 1 + SNAP else 0.0
    reach = int(deviation * np.sqrt(-2 * np.log(_LEAST)))
    offsets = np.arange(-reach, reach + 1)
    shape = np.exp(-0.5 * (offsets / deviation) ** 2) if deviation else np.ones(1)
    columns = centres[:, None] + offsets
    inside = (columns >= 0) & (columns < count)
    values = shape * inside
    weights = np.zeros((len(centres), count))
    rows = np.broadcast_to(np.arange(len(centres))[:, None], columns.shape)
    weights[rows[inside], columns[inside]] = (values / values.sum(axis=1, keepdims=True))[inside]
    return weights


def blur(ratio: float) -> float:
    """Return the deviation, in old voxels, that widens them to ``ratio`` of theirs (Cardoso et al. 2015)."""
    return float(np.sqrt(ratio**2 - 1) / FULL_WIDTH)
