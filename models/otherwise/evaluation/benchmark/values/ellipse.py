"""The circumference of a head by an ellipse fitted to the brightest points around it, by scikit-image.

It knows neither the model nor the agent. From the middle of the head as it was annotated in the original image, the
brightest point along each ray near the annotated outline is taken for skull, and an ellipse is fitted to these points
by RANSAC (Fischler & Bolles, Communications of the ACM 24:381, 1981).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import EllipseModel, ransac

from otherwise.images.image import Image

RAYS = 180
REACH = (0.72, 1.35)
"""Skull is looked for between these multiples of the annotated radius."""
WITHIN = 2.0
"""Points count as those of an ellipse up to this distance (mm)."""
HALF_SKULL = 0.95
"""The brightest points lie in the middle of the skull, and circumferences are taken at its outside: so many millimetres
further out, by the median of training heads."""
SMOOTHING = 1.0
"""Standard deviation of the blur before (mm)."""


def head_circumference(image: Image, mask: np.ndarray) -> float | None:
    """Measure the circumference of a head.

    Args:
        image: 2-D, one channel, millimetres.
        mask: bool ``(i, j, 1)``: the head in the original image, on the same grid; it may have grown or shrunk since.

    Returns:
        Millimetres; None if no ellipse fits.
    """
    spacing = image.geometry.spacing[0]
    seen = ndimage.gaussian_filter(image.array[0, ..., 0].astype(float), SMOOTHING / spacing)
    middle = np.argwhere(mask[..., 0]).mean(axis=0)
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.arange(0.5, max(seen.shape), 0.5)
    along = middle[:, None, None] + rays.T[:, :, None] * radii
    inside = ndimage.map_coordinates(mask[..., 0].astype(float), along, order=1) > 0.5
    outline = radii[inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)]
    bright = ndimage.map_coordinates(seen, along, order=1, mode="constant", cval=-1.0)
    near = (radii >= REACH[0] * outline[:, None]) & (radii <= REACH[1] * outline[:, None])
    best = np.where(near, bright, -1.0).argmax(axis=1)
    points = (middle + rays * radii[best][:, None]) * spacing
    strength = bright[np.arange(RAYS), best]
    points = points[strength >= np.quantile(strength, 0.3)]
    rng = np.random.default_rng(0)
    model, chosen = ransac(points, EllipseModel, 8, WITHIN, max_trials=200, rng=rng)
    if model is None or chosen is None or chosen.sum() < 0.3 * len(points):
        return None
    a, b = model.axis_lengths
    return perimeter(a + HALF_SKULL, b + HALF_SKULL)


def perimeter(a: float, b: float) -> float:
    """Return the perimeter of an ellipse with the semi-axes ``a`` and ``b`` (Ramanujan 1914, second approximation)."""
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))
