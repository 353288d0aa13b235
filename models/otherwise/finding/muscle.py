"""The pectoral muscle of a mammogram: a bright corner of the breast at the chest wall, bounded by a straight line.

The border is the straight line across which brightness falls most evenly (after Karssemeijer, Physics in Medicine and
Biology 43:365, 1998, who searches for it in Hough space). A candidate that is not plainly a muscle is none: a find on
muscle costs a glance, tissue that is not searched may cost a lesion.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage

ACROSS, DOWN = np.linspace(0.12, 0.45, 15), np.linspace(0.18, 0.75, 25)
"""Where the line may end: shares of the image along the edge with the corner, and along the chest wall."""
POINTS = 40
"""Points of the line at which both sides are compared."""
LONGEST = 150
"""Samples along the longer edge of the image that is searched."""
BESIDE = 3.0
"""Samples between the line and what is compared on either side."""
FALLING = 0.9
"""Least share of the points at which brightness falls across the line."""
STEP = 0.15
"""Least fall of brightness across the line, as a share of the brightness inside."""
EVEN = 0.05
"""Largest deviation of brightness inside from a plane, as a share of its median; glands are less even."""
BRIGHTER = 1.05
"""Nine tenths of the inside are so many times as bright as the median of the rest."""


def pectoral_muscle(brightness: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return where the pectoral muscle is, bool ``(i, j)``; nowhere if there is none.

    Args:
        brightness: Of a mammogram whose rows are along j; the chest wall is at either end of i.
        body: Where it is not air.
    """
    nothing = np.zeros(body.shape, bool)
    step = max(1, round(max(body.shape) / LONGEST))
    small, inside = brightness[::step, ::step], body[::step, ::step]
    if min(small.shape) < 40 or not inside.any():
        return nothing
    smooth = ndimage.gaussian_filter(small.astype(np.float32), 1.5)
    best, found = 0.0, nothing
    for flip_i, flip_j in product((1, -1), repeat=2):
        corner = np.s_[::flip_i, ::flip_j]
        score, line = _best_line(smooth[corner], inside[corner])
        if score > best:
            best = score
            found = _beyond(line, body.shape)[corner]
    return found & body


def _best_line(image: np.ndarray, body: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return how plainly a line bounds a muscle in the corner (0, 0), 0 if none does, and where it ends.

    The ends are shares of the image along i and along j.
    """
    none = 0.0, (0.0, 0.0)
    if not body[:3, :3].all():
        return none
    a, b = (ends.ravel() for ends in np.meshgrid(ACROSS, DOWN, indexing="ij"))
    across, down = a * image.shape[0], b * image.shape[1]
    part = np.linspace(0.05, 0.95, POINTS)
    i, j = across[:, None] * part, down[:, None] * (1 - part)
    length = np.hypot(across, down)[:, None]
    normal_i, normal_j = BESIDE * down[:, None] / length, BESIDE * across[:, None] / length
    inner = ndimage.map_coordinates(image, [i - normal_i, j - normal_j], order=1, mode="nearest")
    outer = ndimage.map_coordinates(image, [i + normal_i, j + normal_j], order=1, mode="nearest")
    tissue = ndimage.map_coordinates(body.astype(np.float32), [i + 2 * normal_i, j + 2 * normal_j], order=1)
    fall = inner - outer
    # The border of the breast is a fall, too: beyond the line there has to be tissue.
    plain = (np.mean(fall > 0, axis=1) >= FALLING) & (np.mean(tissue > 0.5, axis=1) >= FALLING)
    strength = np.median(fall, axis=1) / np.maximum(np.median(inner, axis=1), 1e-6)
    strength = np.where(plain & (strength >= STEP), strength, 0)
    for number in np.argsort(-strength, kind="stable")[:5]:
        if strength[number] > 0 and _is_even(image, body, (a[number], b[number])):
            return float(strength[number]), (float(a[number]), float(b[number]))
    return none


def _is_even(image: np.ndarray, body: np.ndarray, line: tuple[float, float]) -> bool:
    """Return whether a corner is all tissue, even, and brighter than most of the breast."""
    muscle = _beyond(line, image.shape, inset=0.15)
    if not muscle.any() or body[muscle].mean() < 0.99:
        return False
    rest = body & ~_beyond(line, image.shape)
    values, others = image[muscle], image[rest]
    places = np.argwhere(muscle)
    plane = np.column_stack([np.ones(len(places)), places])
    residual = values - plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
    even = np.std(residual) <= EVEN * np.median(values)
    return bool(len(others) and even and np.quantile(values, 0.1) > BRIGHTER * np.median(others))


def _beyond(line: tuple[float, float], shape: tuple[int, ...], inset: float = 0.0) -> np.ndarray:
    """Return the triangle between the corner (0, 0) and a line, of which a share at the line is left out."""
    i, j = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(i / (line[0] * shape[0]) + j / (line[1] * shape[1]) < 1 - inset)
