"""The pectoral muscle of a mediolateral oblique mammogram: a bright triangle in the upper corner at the chest wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.phantoms.shapes import power_law_noise, smooth_step

FOLD = 6.0
"""Millimetres over which the breast's outline and that of the armpit merge."""
FIBRE = 4.0
"""Fibres are so many times as long as they are wide."""


@dataclass(frozen=True)
class Muscle:
    """Shape and brightness of a muscle; lengths in millimetres.

    Attributes:
        top: How far it reaches along the upper edge, from the chest wall.
        wall: How far it reaches down the chest wall.
        bulge: How far its border curves outwards in its middle; negative: inwards.
        edge: Width of the zone over which it fades.
        grey: Its brightness.
        fat: Width of the fat between it and the skin of the armpit.
    """

    top: float
    wall: float
    bulge: float
    edge: float
    grey: float
    fat: float


def random_muscle(rng: np.random.Generator, width: float, height: float) -> Muscle:
    """Draw a muscle for a field of this size in millimetres."""
    return Muscle(
        top=width * float(rng.uniform(0.15, 0.32)),
        wall=height * float(rng.uniform(0.28, 0.58)),
        bulge=float(rng.uniform(-3, 6)),
        edge=float(rng.uniform(1.0, 5.0)),
        grey=float(rng.uniform(0.42, 0.62)),
        fat=float(rng.uniform(12, 28)),
    )


def depth_in(muscle: Muscle, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance from the muscle's border, positive inside it.

    Args:
        muscle: The muscle.
        x: Millimetres from the chest wall, ``(i, 1)``.
        y: Millimetres from the upper edge, ``(1, j)``.
    """
    top, wall = np.float32(muscle.top), np.float32(muscle.wall)
    length = np.hypot(top, wall)
    straight = (top * wall - wall * x - top * y) / length
    along = np.clip((top * (top - x) + wall * y) / length**2, 0, 1)
    return np.asarray(straight + np.float32(4 * muscle.bulge) * along * (1 - along), dtype=np.float32)


def with_armpit(depth: np.ndarray, muscle: Muscle, inside: np.ndarray) -> np.ndarray:
    """Return the depth under the skin of a breast that goes over into the armpit around the muscle.

    Args:
        depth: Under the skin of the breast alone.
        muscle: The muscle.
        inside: Depth in the muscle.
    """
    armpit = inside + np.float32(muscle.fat)
    return np.asarray(FOLD * np.logaddexp(depth / FOLD, armpit / FOLD), dtype=np.float32)


def draw_muscle(
    rng: np.random.Generator, muscle: Muscle, grey: np.ndarray, inside: np.ndarray, spacing: float
) -> np.ndarray:
    """Return a mammogram's brightness with the muscle in it; what lies over it shows through.

    Args:
        rng: Source of randomness.
        muscle: The muscle.
        grey: Brightness without it.
        inside: Depth in the muscle.
        spacing: Millimetres of a pixel.
    """
    coarse = max(1, round(0.5 / spacing))
    shape = tuple(-(-edge // coarse) for edge in grey.shape)
    step = coarse * spacing
    # The fibres run along the border, which is steeper than it is wide.
    fibres = power_law_noise(rng, (shape[0], shape[1]), (step * FIBRE, step), 2.5, 30.0)
    fibres = np.repeat(np.repeat(fibres, coarse, 0), coarse, 1)[: grey.shape[0], : grey.shape[1]]
    share = 0.75 * smooth_step(0.5 + inside / np.float32(muscle.edge))
    return np.asarray(grey + share * (np.float32(muscle.grey) + 0.02 * fibres - grey), dtype=np.float32)
