"""The circumference of a head by an ellipse along its skull, found with scikit-image.

It knows neither the model nor the agent. The skull is a bright ridge (Sato et al., Medical Image Analysis 2:143, 1998).
Ellipses through random ridge points are drawn, as RANSAC draws them (Fischler & Bolles, Communications of the ACM
24:381, 1981); the one along which the ridge is strongest on average counts, after a descent to the nearest optimum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize
from skimage.filters import sato
from skimage.measure import EllipseModel

from otherwise.images.image import Image

STEP = 0.5
"""Spacing of the grid on which skull is looked for (mm)."""
WIDTHS = (1.0, 1.5)
"""Standard deviations of the ridges that are looked for (mm)."""
RAYS = 180
REACH = (0.7, 1.4)
"""Skull is looked for between these multiples of the annotated radius; the head's size lies between them, too."""
ROUNDNESS = 0.6
"""Least ratio of the axes of a head."""
OFF_CENTRE = 0.3
"""Greatest distance of the middle from the annotated one, as a share of the head's radius."""
STRONG = 0.98
"""Quantile of the ridge's strength from which on it counts as skull in full."""
WEAK = 0.01
"""Share of that strength below which a ridge is no skull."""
DRAWN, POINTS, REFINED = 400, 6, 5
"""Ellipses that are drawn, the points of each, and how many of the best are refined."""
HALF_SKULL = 1.15
"""The ridge lies in the middle of the skull, and circumferences are taken at its outside: so many millimetres further
out, by the median of training heads."""


class Ellipse(NamedTuple):
    """Middle, semi-axes and angle of an ellipse, in steps of the grid."""

    x: float
    y: float
    a: float
    b: float
    angle: float

    def along(self, count: int = 120) -> np.ndarray:
        """Return points ``(2, count)`` of the ellipse."""
        turn = 2 * np.pi * np.arange(count) / count
        across, up = self.a * np.cos(turn), self.b * np.sin(turn)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.x + across * cos - up * sin, self.y + across * sin + up * cos])


def head_circumference(image: Image, mask: np.ndarray) -> float | None:
    """Measure the circumference of a head.

    Args:
        image: 2-D, one channel, millimetres.
        mask: bool ``(i, j, 1)``: the head in the original image, on the same grid; it may have grown or shrunk since.

    Returns:
        Millimetres; None if no ellipse fits.
    """
    spacing = image.geometry.spacing[0]
    smooth = ndimage.gaussian_filter(image.array[0, ..., 0].astype(float), 0.5 * STEP / spacing)
    grey, head = (
        ndimage.zoom(each, spacing / STEP, order=1, grid_mode=True, mode="nearest")
        for each in (smooth, mask[..., 0].astype(float))
    )
    found = skull_ellipse(grey, head > 0.5)
    return None if found is None else perimeter(found.a * STEP + HALF_SKULL, found.b * STEP + HALF_SKULL)


def skull_ellipse(grey: np.ndarray, head: np.ndarray) -> Ellipse | None:
    """Return the ellipse along which the skull is strongest; None if there is none of a head's shape.

    Args:
        grey: ``(i, j)`` on a grid of ``STEP``.
        head: bool ``(i, j)``: about where the head is.
    """
    if not head.any():
        return None
    middle, radius = np.argwhere(head).mean(axis=0), float(np.sqrt(head.sum() / np.pi))
    ridge = sato(grey, sigmas=[width / STEP for width in WIDTHS], black_ridges=False) * ndimage.gaussian_filter(grey, 1)
    points, strength, full = _ridge_points(ridge, head, middle, radius)
    if len(points) < POINTS:
        return None
    # The square root, so that an ellipse all around counts for more than a few bright parts.
    skull = np.sqrt(np.clip(ridge / full, 0, 1))

    def brightness(ellipse: Ellipse) -> float:
        return float(ndimage.map_coordinates(skull, ellipse.along(), order=1, mode="constant").mean())

    rng, likely = np.random.default_rng(0), strength / strength.sum()
    drawn = []
    for _ in range(DRAWN):
        chosen = points[rng.choice(len(points), POINTS, replace=False, p=likely)]
        model = EllipseModel.from_estimate(chosen)
        if model:
            ellipse = Ellipse(*map(float, (*model.center, *model.axis_lengths, model.theta)))
            if _plausible(ellipse, middle, radius):
                drawn.append(ellipse)
    best = sorted(drawn, key=brightness, reverse=True)[:REFINED]
    moves = np.vstack([np.zeros(5), np.diag([2.0, 2.0, 2.0, 2.0, 0.08])])
    for ellipse in list(best):
        found = optimize.minimize(
            lambda values: -brightness(Ellipse(*values)),
            ellipse,
            method="Nelder-Mead",
            options={"maxiter": 150, "initial_simplex": np.array(ellipse) + moves},
        )
        if _plausible(refined := Ellipse(*found.x), middle, radius):
            best.append(refined)
    return max(best, key=brightness, default=None)


def perimeter(a: float, b: float) -> float:
    """Return the perimeter of an ellipse with the semi-axes ``a`` and ``b`` (Ramanujan 1914, second approximation)."""
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))


def _ridge_points(
    ridge: np.ndarray, head: np.ndarray, middle: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return points ``(n, 2)`` on ridges about the outline, their strength ``(n,)``, and the strength of full skull."""
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.arange(1.0, 2.2 * radius)
    along = middle[:, None, None] + rays.T[:, :, None] * radii
    inside = ndimage.map_coordinates(head.astype(float), along, order=1) > 0.5
    outline = radii[inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)]
    near = (radii >= REACH[0] * outline[:, None]) & (radii <= REACH[1] * outline[:, None])
    seen = np.where(near, ndimage.map_coordinates(ridge, along, order=1, mode="constant"), 0.0)
    full = max(float(np.quantile(seen[near], STRONG)) if near.any() else 0.0, 1e-9)
    peak = near & (seen > np.roll(seen, 1, axis=1)) & (seen >= np.roll(seen, -1, axis=1)) & (seen > WEAK * full)
    ray, place = np.nonzero(peak)
    return middle + rays[ray] * radii[place][:, None], np.sqrt(np.minimum(seen[ray, place] / full, 1)), full


def _plausible(ellipse: Ellipse, middle: np.ndarray, radius: float) -> bool:
    """Return whether an ellipse has a head's shape, about the annotated size and place."""
    if not np.isfinite(ellipse).all() or min(ellipse.a, ellipse.b) <= 0:
        return False
    return bool(
        min(ellipse.a, ellipse.b) / max(ellipse.a, ellipse.b) >= ROUNDNESS
        and REACH[0] <= np.sqrt(ellipse.a * ellipse.b) / radius <= REACH[1]
        and np.hypot(ellipse.x - middle[0], ellipse.y - middle[1]) <= OFF_CENTRE * radius
    )
