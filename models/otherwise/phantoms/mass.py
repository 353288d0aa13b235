"""A mass of a mammogram: its place, its outline, and the spicules that make it malignant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.phantoms.shapes import Stroke, lobed_radius


@dataclass(frozen=True)
class Mass:
    """Place and outline of a mass without spicules.

    Attributes:
        centre: Millimetres along i and j.
        radius: Mean radius in millimetres.
        contrast: Grey values above the tissue.
        softness: Width of its edge in millimetres.
        lobes: Relative depth of 2, 3, 4 and 5 lobes.
        phases: Rotation of each of them in radians.
    """

    centre: tuple[float, float]
    radius: float
    contrast: float
    softness: float
    lobes: np.ndarray
    phases: np.ndarray


def polar(mass: Mass, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's distance from the mass's centre, and the mass's radius in its direction."""
    right, down = x - mass.centre[0], y - mass.centre[1]
    angle = np.arctan2(down, right)
    return np.hypot(right, down), lobed_radius(angle, mass.radius, mass.lobes, mass.phases)


def draw_mass(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> Mass:
    """Draw how a mass looks that lies there and is so large; its class plays no part."""
    return Mass(
        centre=centre,
        radius=radius,
        contrast=float(rng.uniform(0.14, 0.3)),
        softness=float(rng.uniform(0.2, 0.5)),
        lobes=rng.normal(0, 1, 4) * np.array([0.08, 0.05, 0.035, 0.025]),
        phases=rng.uniform(0, 2 * np.pi, 4),
    )


def body(mass: Mass, distance: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the mass without spicules: 1 within, 0 outside, soft between; the others are what ``polar`` gave."""
    return np.asarray(1 / (1 + np.exp(np.clip((distance - edge) / mass.softness, -30, 30))))


def reach(mass: Mass, strokes: list[Stroke]) -> float:
    """Return how far from its centre the spicules end, in millimetres."""
    return max(float(np.hypot(s.start[0] - mass.centre[0], s.start[1] - mass.centre[1])) + s.length for s in strokes)


def draw_spicules(rng: np.random.Generator, mass: Mass, spiculation: float) -> list[Stroke]:
    """Draw thin lines that radiate from the mass; ``spiculation`` in [0, 1] sets number, length and brightness."""
    count = int(rng.integers(5, 9)) + round(10 * spiculation)
    # Roughly even around the mass, as a desmoplastic reaction is, but never regular.
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.45, 0.45, count)) / count + rng.uniform(0, 2 * np.pi)
    edges = 0.9 * lobed_radius(angles, mass.radius, mass.lobes, mass.phases)
    return [
        Stroke(
            start=(mass.centre[0] + edge * np.cos(angle), mass.centre[1] + edge * np.sin(angle)),
            angle=float(angle + rng.normal(0, 0.18)),
            length=mass.radius * float(rng.uniform(0.6, 1.0) + 0.8 * spiculation * rng.random()),
            bend=float(rng.normal(0, 0.015)),
            width=float(rng.uniform(0.4, 0.6)),
            strength=float(rng.uniform(0.75, 1.0)) * (0.5 + 1.1 * spiculation),
            fade=float(rng.uniform(0.4, 0.9)),
        )
        for angle, edge in zip(angles, edges, strict=True)
    ]
