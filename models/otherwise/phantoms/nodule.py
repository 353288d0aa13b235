"""Synthetic chest CT nodules: smooth or lobulated (benign), or spiculated (malignant)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.phantom import CLASSES, MALIGNANT, Phantom
from otherwise.phantoms.series import check_confound, draw_label, draw_marked, numbered_rng
from otherwise.phantoms.shapes import power_law_noise
from otherwise.phantoms.tubes import Tube, draw_tubes

LUNG, SOFT_TISSUE, BONE, GROUND_GLASS, METAL = -860.0, 40.0, 350.0, -520.0, 1500.0
"""Typical CT numbers (HU)."""


@dataclass(frozen=True)
class NoduleSettings:
    """What to draw.

    Attributes:
        size: Voxels along i, j, k.
        spacing: Distance of voxel centres along i, j, k in millimetres.
        confound: As of mammograms; the marker is a small metal block in a corner.

    Raises:
        ImageError: if the volume is too small to show a nodule, or ``confound`` is no probability.
    """

    size: tuple[int, int, int] = (48, 48, 24)
    spacing: tuple[float, float, float] = (0.7, 0.7, 1.25)
    confound: float | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 3 or len(self.spacing) != 3 or min(self.size) < 8 or min(self.spacing) <= 0:
            raise ImageError(f"A volume of size {self.size} is too small.", "Give at least 8 voxels along each axis.")
        if min(self.extent) < 16:
            raise ImageError(
                f"A volume of {min(self.extent):g} mm holds no nodule.", "Give it at least 16 mm along each axis."
            )
        check_confound(self.confound)

    @property
    def extent(self) -> tuple[float, float, float]:
        """Lengths of the volume's edges in millimetres."""
        i, j, k = (n * step for n, step in zip(self.size, self.spacing, strict=True))
        return (i, j, k)


@dataclass(frozen=True)
class _Nodule:
    """Where the nodule is and how it looks without spicules."""

    centre: np.ndarray
    radius: float
    bumps: np.ndarray
    """``(n, 3)`` directions of its lobes."""
    heights: np.ndarray
    """``(n,)`` relative to the radius."""

    def edge(self, directions: np.ndarray) -> np.ndarray:
        """Radius in directions ``(..., 3)`` (mm)."""
        lobes = np.exp(5.0 * (directions @ self.bumps.T - 1)) @ self.heights
        return np.asarray(self.radius * (1 + lobes), dtype=np.float32)


def make_nodule(rng: np.random.Generator, settings: NoduleSettings, id: str = "nodule") -> Phantom:
    """Draw one nodule in its surroundings, its truth and its true counterfactual.

    Everything is drawn whatever the class, so that both classes differ in the spicules and in nothing else; lobulation,
    texture and calcification say nothing about the class.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 3-D phantom in HU (int16, from -1024) with the masks ``nodule``, ``spicules``, ``margin`` (all around the
        nodule as far as its spicules reach or would reach), ``calcification``, ``vessels``, ``pleura`` and ``marker``.
    """
    points = _grid(settings)
    label = draw_label(rng)
    malignant = label == MALIGNANT
    marked = draw_marked(rng, settings.confound, label)
    texture = rng.normal(0, 1) * 15 + 25 * power_law_noise(rng, settings.size, settings.spacing, 3.0, 20.0)
    lobulated = bool(rng.random() < 0.4)
    nodule = _draw_nodule(rng, settings, lobulated)
    solid = bool(rng.random() < 0.7)
    calcified = bool(rng.random() < 0.2)
    spiculation = float(rng.uniform(0.25, 1.0))
    needles = _draw_spicules(rng, nodule, spiculation)
    vessels = draw_tubes(_draw_vessels(rng, settings, nodule), points)
    wall, attached = _draw_wall(rng, points, nodule)
    noise = ndimage.gaussian_filter(rng.standard_normal(settings.size, dtype=np.float32), (0.6, 0.6, 0))
    noise *= float(rng.uniform(15, 35)) / noise.std()

    offset: np.ndarray = points - nodule.centre.astype(np.float32)
    distance = np.linalg.norm(offset, axis=-1)
    edge = nodule.edge(offset / np.maximum(distance, 1e-6)[..., None])
    body = _soft_inside(edge - distance, 0.45)
    core = _soft_inside(0.6 * edge - distance, 0.45)
    spicules = draw_tubes(needles, points) * (1 - body)
    centre = _soft_inside(0.35 * nodule.radius - distance, 0.4) * calcified
    marker = _marker(settings) & marked
    surroundings = LUNG + texture
    for amount, value in ((vessels, SOFT_TISSUE), (wall, SOFT_TISSUE + 10)):
        surroundings = surroundings + amount * (value - surroundings)

    def render(spiculated: bool) -> np.ndarray:
        voxels = surroundings
        if spiculated:
            voxels = voxels + spicules * np.maximum(SOFT_TISSUE - 20 - voxels, 0)
        # The nodule replaces lung, but does not hollow out a denser vessel or wall.
        voxels = voxels + body * np.maximum((SOFT_TISSUE if solid else GROUND_GLASS) - voxels, 0)
        voxels = voxels + core * np.maximum(SOFT_TISSUE - voxels, 0) + centre * (BONE - SOFT_TISSUE)
        blur = [0.45 / settings.spacing[0], 0.45 / settings.spacing[1], 0.5 / settings.spacing[2]]
        voxels = ndimage.gaussian_filter(voxels, blur, truncate=3) + noise
        return np.round(np.clip(np.where(marker, METAL, voxels), -1024, 3071)).astype(np.int16)

    reach = max(float(np.linalg.norm(np.asarray(tube.end) - nodule.centre)) for tube in needles)
    image = Image(render(malignant)[None], _geometry(settings), id)
    return Phantom(
        image=image,
        label=label,
        classes=CLASSES,
        attributes={
            "size_mm": round(2 * nodule.radius, 2),
            "margin": "spiculated" if malignant else "smooth",
            "lobulated": lobulated,
            "spicules": len(needles) if malignant else 0,
            "spiculation": round(spiculation, 3) if malignant else 0.0,
            "texture": "solid" if solid else "part-solid",
            "calcified": calcified,
            "pleura": attached,
            "marker": marked,
        },
        masks={
            "nodule": body > 0.5,
            "spicules": (spicules > 0.1) & malignant,
            "margin": (distance > edge - 1.5 * max(settings.spacing)) & (distance <= reach + max(settings.spacing)),
            "calcification": centre > 0.5,
            "vessels": vessels > 0.5,
            "pleura": wall > 0.5,
            "marker": marker,
        },
        decisive="spicules" if malignant else "margin",
        counterfactual=image.with_array(render(not malignant)[None], f"{id}-counterfactual"),
    )


def nodules(seed: int, count: int, settings: NoduleSettings, start: int = 0) -> Iterator[Phantom]:
    """Draw many nodules; the n-th depends on ``seed`` and ``n`` alone, whatever is drawn before it.

    Args:
        seed: Names the whole endless series.
        count: How many to draw.
        settings: What to draw.
        start: Number of the first one.
    """
    for number in range(start, start + count):
        yield make_nodule(numbered_rng(seed, number), settings, f"nodule-{seed}-{number:05d}")


def _grid(settings: NoduleSettings) -> np.ndarray:
    """Millimetres ``(i, j, k, 3)`` from the middle of the volume."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step)
        for n, step in zip(settings.size, settings.spacing, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _geometry(settings: NoduleSettings) -> Geometry:
    """Axial slices as DICOM and ITK lay them (LPS), said in RAS."""
    i, j, k = settings.spacing
    affine = np.diag([-i, -j, k, 1.0])
    affine[:3, 3] = [60.0, 20.0, -150.0]
    return Geometry(settings.size, affine)


def _soft_inside(depth: np.ndarray, softness: float) -> np.ndarray:
    """1 inside, 0 outside, given the depth under the surface (mm)."""
    return np.asarray(1 / (1 + np.exp(np.clip(-depth / softness, -30, 30))), dtype=np.float32)


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors ``(count, 3)``, evenly distributed over the sphere."""
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _draw_nodule(rng: np.random.Generator, settings: NoduleSettings, lobulated: bool) -> _Nodule:
    room = min(settings.extent)
    bumps = int(rng.integers(3, 7))
    return _Nodule(
        centre=rng.uniform(-0.08, 0.08, 3) * settings.extent,
        radius=min(float(rng.uniform(3.0, 6.5)), 0.2 * room),
        bumps=_directions(rng, bumps),
        heights=rng.uniform(0.15, 0.35, bumps) if lobulated else rng.uniform(-0.08, 0.1, bumps),
    )


def _draw_spicules(rng: np.random.Generator, nodule: _Nodule, spiculation: float) -> list[Tube]:
    """Thin needles that radiate from the edge; ``spiculation`` (0 to 1) makes them many, long and dense."""
    count = int(rng.integers(8, 14)) + round(16 * spiculation)
    outwards = _directions(rng, count)
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


def _draw_vessels(rng: np.random.Generator, settings: NoduleSettings, nodule: _Nodule) -> list[Tube]:
    """Trees that enter somewhere and branch; some pass the nodule and look like spicules."""
    tubes: list[Tube] = []
    for _ in range(int(rng.integers(1, 4))):
        start = _directions(rng, 1)[0] * settings.extent * 0.6
        aim = nodule.centre + rng.normal(0, 2.5 * nodule.radius, 3)
        _grow(rng, tubes, start, aim - start, float(rng.uniform(0.9, 1.8)), branchings=2)
    return tubes


def _grow(
    rng: np.random.Generator,
    tubes: list[Tube],
    start: np.ndarray,
    direction: np.ndarray,
    radius: float,
    branchings: int,
) -> None:
    direction = direction / np.linalg.norm(direction)
    end = start + direction * float(rng.uniform(6, 12))
    # Murray's law: of two equal branches each has 2 ** (-1/3) of the radius.
    thinner = radius * 2 ** (-1 / 3)
    tubes.append(Tube(tuple(start), tuple(end), radius, thinner, strength=1.0))
    if branchings:
        for _ in range(2):
            _grow(rng, tubes, end, direction + rng.normal(0, 0.35, 3), thinner, branchings - 1)


def _draw_wall(rng: np.random.Generator, points: np.ndarray, nodule: _Nodule) -> tuple[np.ndarray, bool]:
    """Chest wall on one side, slightly curved, in every second volume; it may touch the nodule."""
    inwards = _directions(rng, 1)[0]
    gap = nodule.radius * float(rng.uniform(0.8, 2.0))
    present = bool(rng.random() < 0.5)
    offset: np.ndarray = points - nodule.centre.astype(np.float32)
    height = offset @ inwards.astype(np.float32)
    beside = np.sum(np.square(offset), axis=-1) - np.square(height)
    return _soft_inside(-(height + gap) + 0.006 * beside, 0.5) * present, present and gap < 1.1 * nodule.radius


def _marker(settings: NoduleSettings) -> np.ndarray:
    """Voxels of the metal block: about 3 mm along each axis, a voxel from the corner."""
    block = tuple(slice(1, 1 + max(1, round(3 / step))) for step in settings.spacing)
    drawn = np.zeros(settings.size, dtype=bool)
    drawn[block] = True
    return drawn
