"""Straight tubes in space: vessels and spicules of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tube:
    """A straight piece that tapers.

    Attributes:
        start: ``(x, y, z)`` in millimetres.
        end: Likewise.
        radius: At its start (mm).
        end_radius: At its end.
        strength: How much of the tissue under it is replaced, in [0, 1].
    """

    start: tuple[float, ...]
    end: tuple[float, ...]
    radius: float
    end_radius: float
    strength: float


def draw_tubes(tubes: Sequence[Tube], points: np.ndarray, softness: float = 0.25) -> np.ndarray:
    """Draw tubes; where several cross, the strongest shows.

    Args:
        tubes: The pieces.
        points: ``(i, j, k, 3)`` millimetres of the voxels.
        softness: Width of their edges (mm).

    Returns:
        float32 ``(i, j, k)`` in [0, 1]: share of tube in each voxel.
    """
    drawn = np.zeros(points.shape[:-1], dtype=np.float32)
    low, step = points[0, 0, 0], points[1, 1, 1] - points[0, 0, 0]
    for tube in tubes:
        start, end = np.asarray(tube.start, dtype=np.float32), np.asarray(tube.end, dtype=np.float32)
        # Only the voxels around a tube can show it.
        reach = tube.radius + 6 * softness
        first = np.maximum(np.floor((np.minimum(start, end) - reach - low) / step).astype(int), 0)
        last = np.maximum(np.ceil((np.maximum(start, end) + reach - low) / step).astype(int) + 1, 0)
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        offset = points[box] - start
        axis = end - start
        along = np.clip(offset @ axis / max(float(axis @ axis), 1e-12), 0, 1)
        distance = np.linalg.norm(offset - along[..., None] * axis, axis=-1)
        radius = tube.radius + (tube.end_radius - tube.radius) * along
        share = 1 / (1 + np.exp(np.clip((distance - radius) / softness, -30, 30)))
        np.maximum(drawn[box], (tube.strength * share).astype(np.float32), out=drawn[box])
    return drawn


def grow_tree(
    rng: np.random.Generator,
    tubes: list[Tube],
    start: np.ndarray,
    direction: np.ndarray,
    radius: float,
    branchings: int,
) -> None:
    """Append the pieces of a vessel that branches so many times; 6 to 12 mm between two branchings."""
    direction = direction / np.linalg.norm(direction)
    end = start + direction * float(rng.uniform(6, 12))
    # Murray's law: of two equal branches each has 2 ** (-1/3) of the radius.
    thinner = radius * 2 ** (-1 / 3)
    tubes.append(Tube(tuple(start), tuple(end), radius, thinner, strength=1.0))
    if branchings:
        for _ in range(2):
            grow_tree(rng, tubes, end, direction + rng.normal(0, 0.35, 3), thinner, branchings - 1)


def random_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return unit vectors ``(count, 3)``, evenly distributed over the sphere."""
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
