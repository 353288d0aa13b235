"""Synthetic chest CT volumes of one lung with no, one or several nodules, smooth (benign) or spiculated (malignant).

Nodules are those of ``nodule``; around them there is a lung with a tree of vessels, the mediastinum and a chest wall
with ribs, so that most of a volume is nothing to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.ct import (
    AIR,
    BONE,
    FAT,
    LUNG,
    SOFT_TISSUE,
    Size,
    Spacing,
    axial,
    blurred,
    hounsfield,
    quantum_noise,
    voxel_places,
)
from otherwise.phantoms.ct_nodule import Nodule, draw_nodule, random_nodule, random_spicules, soft_inside
from otherwise.phantoms.phantom import MALIGNANT, Lesion, WholePhantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import draw_label, numbered_rng
from otherwise.phantoms.shapes import power_law_noise, smooth_step
from otherwise.phantoms.tubes import Tube, draw_tubes, grow_tree, random_directions

APART = 30.0
"""Least distance of two nodules in millimetres, so that a patch shows one."""
MARGIN = 12.0
"""Least distance of a nodule from the volume's border in millimetres."""
ROOM = (33.6, 33.6, 30.0)
"""Millimetres of the small volumes whose nodules are drawn here."""
COARSE = 2
"""The texture is drawn on voxels so much larger: it has nothing finer, and the Fourier transform takes long."""


@dataclass(frozen=True)
class WholeCtSettings:
    """Settings of whole CT phantoms.

    Attributes:
        size: Voxels along i, j, k.
        spacing: Distance of voxel centres along i, j, k in millimetres.
        most: Most nodules; their number is drawn evenly from 0 to this.

    Raises:
        ImageError: if the volume is too small for a lung.
    """

    size: Size = (256, 256, 128)
    spacing: Spacing = (0.7, 0.7, 1.25)
    most: int = 4

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.spacing) <= 0 or min(self.extent) < 80:
            raise ImageError(
                f"A volume of {self.size} voxels of {self.spacing} mm holds no lung.", "Give 80 mm along each axis."
            )
        if not 0 <= self.most <= 12:
            raise ImageError(f"{self.most} nodules are too many for a lung.", "Give at most 12.")

    @property
    def extent(self) -> tuple[float, float, float]:
        """Return the lengths of the volume's edges in millimetres."""
        i, j, k = (n * step for n, step in zip(self.size, self.spacing, strict=True))
        return (i, j, k)


def make_whole_ct(rng: np.random.Generator, settings: WholeCtSettings, id: str = "whole-ct") -> WholePhantom:
    """Draw one volume and its truth.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 3-D phantom in HU (int16).
    """
    points = voxel_places(settings.size, settings.spacing)
    voxels, depth, inside = _draw_chest(rng, settings, points)
    places = _random_places(rng, settings, points, depth, int(rng.integers(0, settings.most + 1)))
    labels = np.zeros(settings.size, np.uint8)
    geometry = axial(settings.size, settings.spacing)
    lesions = []
    for number, place in enumerate(places, start=1):
        label, lobulated = draw_label(rng), bool(rng.random() < 0.4)
        nodule = replace(random_nodule(rng, ROOM, lobulated), centre=place)
        solid, calcified = bool(rng.random() < 0.7), bool(rng.random() < 0.2)
        spiculation = float(rng.uniform(0.25, 1.0))
        spicules = random_spicules(rng, nodule, spiculation)
        window = _window(settings, place, nodule.reach(spicules) + 4)
        drawn = draw_nodule(nodule, spicules, points[window], solid, calcified)
        malignant = label == MALIGNANT
        voxels[window] = drawn.put_into(voxels[window], malignant)
        labels[window][(drawn.body > 0.5) | ((drawn.spicules > 0.1) & malignant)] = number
        attributes = {
            "size_mm": round(2 * nodule.radius, 2),
            "margin": "spiculated" if malignant else "smooth",
            "lobulated": lobulated,
            "spicules": len(spicules) if malignant else 0,
            "texture": "solid" if solid else "part-solid",
            "calcified": calcified,
        }
        lesions.append(Lesion(number, label, _ras(geometry, settings, nodule), attributes))
    voxels = blurred(voxels, settings.spacing) + quantum_noise(rng, settings.size)
    return WholePhantom(
        image=Image(hounsfield(voxels)[None], geometry, id),
        lesions=tuple(lesions),
        labels=labels,
        foreground=inside,
        attributes={"nodules": len(lesions)},
    )


def whole_cts(seed: int, count: int, settings: WholeCtSettings, start: int = 0) -> Iterator[WholePhantom]:
    """Draw many; the n-th depends on ``seed`` and ``n`` alone. Arguments as for ``nodule.nodules``."""
    for number in range(start, start + count):
        yield make_whole_ct(numbered_rng(seed, number), settings, f"whole-ct-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[WholePhantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j, k = options.size
    return whole_cts(options.seed, options.count, WholeCtSettings((i, j, k)), options.start)


def _draw_chest(
    rng: np.random.Generator, settings: WholeCtSettings, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return HU without nodules, the depth under the pleura (mm; negative outside the lung), and the body's mask."""
    x, y, z = points[:, :1, :1, 0], points[:1, :, :1, 1], points[:1, :1, :, 2]
    axes = np.array(settings.extent) * rng.uniform([0.36, 0.40, 0.50], [0.42, 0.46, 0.62])
    side = 1.0 if rng.random() < 0.5 else -1.0
    a, b, c = (float(axis) for axis in axes)
    lung = (1 - np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)) * min(a, b)
    heart = np.array([side * a, b * rng.uniform(-0.3, 0.1), c * rng.uniform(-0.5, -0.2)])
    size = a * float(rng.uniform(0.5, 0.7))
    beside_heart = np.sqrt((x - heart[0]) ** 2 + (y - heart[1]) ** 2 + ((z - heart[2]) / 1.4) ** 2) - size
    depth = np.minimum(lung, beside_heart).astype(np.float32)
    wall = float(rng.uniform(16, 26))
    # The other half of the chest lies beyond the volume.
    inside = ((x - side * a) / (2 * a + wall)) ** 2 + (y / (b + wall)) ** 2 + 0 * z < 1
    lateral = smooth_step(2.0 - 3.0 * side * x / a)

    voxels = LUNG + _texture(rng, settings)
    voxels += draw_tubes(_random_vessels(rng, axes, heart), points) * (SOFT_TISSUE - voxels)
    tissue = soft_inside(-depth, 0.5)
    voxels += tissue * (SOFT_TISSUE + 10 - voxels)
    # Ribs run obliquely within the wall, a finger's breadth apart; under the skin there is fat.
    band = np.abs((z + 0.35 * y + float(rng.uniform(0, 28))) % 28 - 14)
    ribs = soft_inside(3.5 - np.abs(lung + 7.5), 0.6) * soft_inside(5.0 - band, 0.6) * lateral
    voxels += ribs * (BONE - voxels)
    voxels += soft_inside(-(lung + 14), 1.0) * lateral * (FAT - voxels)
    voxels[~inside] = AIR
    return voxels, depth, inside


def _random_vessels(rng: np.random.Generator, axes: np.ndarray, heart: np.ndarray) -> list[Tube]:
    """Draw trees from the hilum outwards, and thin ones further out whose stems lie in other slices."""
    tubes: list[Tube] = []
    hilum = heart * (0.55, 0.9, 0.3)
    for _ in range(int(rng.integers(8, 12))):
        aim = 0.8 * axes * random_directions(rng, 1)[0] - (0.3 * heart[0], 0, 0)
        grow_tree(rng, tubes, hilum, aim - hilum, float(rng.uniform(2.0, 4.0)), branchings=7)
    for _ in range(int(rng.integers(30, 50))):
        start = axes * random_directions(rng, 1)[0] * float(rng.uniform(0.3, 0.85))
        away = start - hilum + rng.normal(0, 20, 3)
        grow_tree(rng, tubes, start, away, float(rng.uniform(0.9, 1.8)), branchings=3)
    return tubes


def _texture(rng: np.random.Generator, settings: WholeCtSettings) -> np.ndarray:
    coarse = tuple(-(-edge // COARSE) for edge in settings.size)
    noise = power_law_noise(rng, coarse, tuple(COARSE * step for step in settings.spacing), 3.0, 20.0)
    zoomed = ndimage.zoom(noise, COARSE, order=1)[tuple(slice(edge) for edge in settings.size)]
    return np.asarray(float(rng.normal(0, 1)) * 15 + 25 * zoomed, dtype=np.float32)


def _random_places(
    rng: np.random.Generator, settings: WholeCtSettings, points: np.ndarray, depth: np.ndarray, count: int
) -> list[np.ndarray]:
    """Return centres within the lung, some close to the pleura; fewer if there is no room."""
    places: list[np.ndarray] = []
    limit = np.array(settings.extent) / 2 - MARGIN
    for _ in range(200 * count):
        if len(places) == count:
            break
        index = tuple(rng.integers(0, settings.size))
        place = points[index].astype(float)
        deep = depth[index] > float(rng.uniform(4, 8))
        if deep and (np.abs(place) < limit).all() and all(np.linalg.norm(place - other) > APART for other in places):
            places.append(place)
    return places


def _window(settings: WholeCtSettings, centre: np.ndarray, radius: float) -> tuple[slice, slice, slice]:
    """Return the voxels within a box about a place."""
    middle = (np.array(settings.size) - 1) / 2
    low = np.floor((centre - radius) / settings.spacing + middle).astype(int)
    high = np.ceil((centre + radius) / settings.spacing + middle).astype(int) + 1
    i, j, k = (slice(max(0, int(a)), min(int(b), edge)) for a, b, edge in zip(low, high, settings.size, strict=True))
    return i, j, k


def _ras(geometry: Geometry, settings: WholeCtSettings, nodule: Nodule) -> tuple[float, float, float]:
    index = nodule.centre / settings.spacing + (np.array(settings.size) - 1) / 2
    r, a, s = (float(value) for value in geometry.to_ras(index))
    return (r, a, s)
