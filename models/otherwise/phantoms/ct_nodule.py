"""A nodule of a chest CT: its place, its surface, and the spicules that make it malignant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.phantoms.ct import BONE, GROUND_GLASS, SOFT_TISSUE
from otherwise.phantoms.tubes import Tube, draw_tubes, random_directions


@dataclass(frozen=True)
class Nodule:
    """Place and shape of a nodule without spicules.

    Attributes:
        centre: Millimetres.
        radius: Without lobes (mm).
        bumps: ``(n, 3)`` directions of its lobes.
        heights: ``(n,)`` relative to the radius.
    """

    centre: np.ndarray
    radius: float
    bumps: np.ndarray
    heights: np.ndarray

    def edge(self, directions: np.ndarray) -> np.ndarray:
        """Return the radius in directions ``(..., 3)`` (mm)."""
        lobes = np.exp(5.0 * (directions @ self.bumps.T - 1)) @ self.heights
        return np.asarray(self.radius * (1 + lobes), dtype=np.float32)

    def reach(self, spicules: Sequence[Tube]) -> float:
        """Return how far from its centre the spicules end (mm)."""
        return max(float(np.linalg.norm(np.asarray(tube.end) - self.centre)) for tube in spicules)


@dataclass(frozen=True)
class DrawnNodule:
    """A nodule on a grid; all ``(i, j, k)``, shares of a voxel in [0, 1] but for the first two (mm).

    Attributes:
        distance: From its centre.
        edge: Its radius in each voxel's direction.
        body: The nodule.
        core: Its solid part.
        spicules: What it has, or would have if it were malignant.
        calcification: Empty if it has none.
        solid: Whether the part about the core is solid too, or ground glass.
    """

    distance: np.ndarray
    edge: np.ndarray
    body: np.ndarray
    core: np.ndarray
    spicules: np.ndarray
    calcification: np.ndarray
    solid: bool

    def put_into(self, voxels: np.ndarray, spiculated: bool) -> np.ndarray:
        """Return the nodule within lung, HU; denser vessels and walls are not hollowed out."""
        if spiculated:
            voxels = voxels + self.spicules * np.maximum(SOFT_TISSUE - 20 - voxels, 0)
        voxels = voxels + self.body * np.maximum((SOFT_TISSUE if self.solid else GROUND_GLASS) - voxels, 0)
        return voxels + self.core * np.maximum(SOFT_TISSUE - voxels, 0) + self.calcification * (BONE - SOFT_TISSUE)


def random_nodule(rng: np.random.Generator, extent: tuple[float, float, float], lobulated: bool) -> Nodule:
    """Draw a nodule near the middle of a volume of so many millimetres; its class plays no part."""
    bumps = int(rng.integers(3, 7))
    return Nodule(
        centre=rng.uniform(-0.08, 0.08, 3) * extent,
        radius=min(float(rng.uniform(3.0, 6.5)), 0.2 * min(extent)),
        bumps=random_directions(rng, bumps),
        heights=rng.uniform(0.15, 0.35, bumps) if lobulated else rng.uniform(-0.08, 0.1, bumps),
    )


def random_spicules(rng: np.random.Generator, nodule: Nodule, spiculation: float) -> list[Tube]:
    """Draw thin needles that radiate from the edge; ``spiculation`` in [0, 1] sets number, length and density."""
    count = int(rng.integers(8, 14)) + round(16 * spiculation)
    outwards = random_directions(rng, count)
    tilted = outwards + rng.normal(0, 0.15, (count, 3))
    starts = nodule.centre + outwards * (0.9 * nodule.edge(outwards))[:, None]
    lengths = nodule.radius * (rng.uniform(0.6, 1.0, count) + 0.5 * spiculation * rng.random(count))
    return [
        Tube(
            start=tuple(start),
            end=tuple(start + direction / np.linalg.norm(direction) * length),
            radius=float(rng.uniform(0.65, 1.0)),
            end_radius=0.3,
            strength=float(rng.uniform(0.7, 1.0)) * (0.45 + 0.55 * spiculation),
        )
        for start, direction, length in zip(starts, tilted, lengths, strict=True)
    ]


def draw_nodule(
    nodule: Nodule, spicules: Sequence[Tube], points: np.ndarray, solid: bool, calcified: bool
) -> DrawnNodule:
    """Bring a nodule onto a grid; ``points (i, j, k, 3)`` are millimetres in the nodule's coordinates."""
    offset: np.ndarray = points - nodule.centre.astype(np.float32)
    distance = np.linalg.norm(offset, axis=-1)
    edge = nodule.edge(offset / np.maximum(distance, 1e-6)[..., None])
    body = soft_inside(edge - distance, 0.45)
    return DrawnNodule(
        distance=distance,
        edge=edge,
        body=body,
        core=soft_inside(0.6 * edge - distance, 0.45),
        spicules=draw_tubes(spicules, points) * (1 - body),
        calcification=soft_inside(0.35 * nodule.radius - distance, 0.4) * calcified,
        solid=solid,
    )


def soft_inside(depth: np.ndarray, softness: float) -> np.ndarray:
    """Return 1 inside and 0 outside, given the depth under the surface (mm)."""
    return np.asarray(1 / (1 + np.exp(np.clip(-depth / softness, -30, 30))), dtype=np.float32)
