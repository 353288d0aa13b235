"""Synthetic chest CT nodules: smooth or lobulated (benign), or spiculated (malignant)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.phantoms.ct import LUNG, METAL, SOFT_TISSUE, axial, blurred, hounsfield, quantum_noise, voxel_places
from otherwise.phantoms.ct_nodule import Nodule, draw_nodule, random_nodule, random_spicules, soft_inside
from otherwise.phantoms.phantom import CLASSES, MALIGNANT, Phantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import check_confound, draw_label, draw_marked, numbered_rng
from otherwise.phantoms.shapes import power_law_noise
from otherwise.phantoms.tubes import Tube, draw_tubes, grow_tree, random_directions


@dataclass(frozen=True)
class NoduleSettings:
    """Settings of phantom nodules.

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
        """Return the lengths of the volume's edges in millimetres."""
        i, j, k = (n * step for n, step in zip(self.size, self.spacing, strict=True))
        return (i, j, k)


def make_nodule(rng: np.random.Generator, settings: NoduleSettings, id: str = "nodule") -> Phantom:
    """Draw one nodule in its surroundings, its truth and its true counterfactual.

    Everything is drawn for both classes, so that both classes differ in the spicules and in nothing else; lobulation,
    texture and calcification say nothing about the class.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 3-D phantom in HU (int16, from -1024) with the masks ``nodule``, ``spicules``, ``margin`` (all around the
        nodule as far as its spicules reach or would reach), ``calcification``, ``vessels``, ``pleura`` and ``marker``.
    """
    points = voxel_places(settings.size, settings.spacing)
    label = draw_label(rng)
    malignant = label == MALIGNANT
    marked = draw_marked(rng, settings.confound, label)
    texture = rng.normal(0, 1) * 15 + 25 * power_law_noise(rng, settings.size, settings.spacing, 3.0, 20.0)
    lobulated = bool(rng.random() < 0.4)
    nodule = random_nodule(rng, settings.extent, lobulated)
    solid = bool(rng.random() < 0.7)
    calcified = bool(rng.random() < 0.2)
    spiculation = float(rng.uniform(0.25, 1.0))
    needles = random_spicules(rng, nodule, spiculation)
    vessels = draw_tubes(_draw_vessels(rng, settings, nodule), points)
    wall, attached = _draw_wall(rng, points, nodule)
    noise = quantum_noise(rng, settings.size)

    drawn = draw_nodule(nodule, needles, points, solid, calcified)
    marker = _marker(settings) & marked
    surroundings = LUNG + texture
    for amount, value in ((vessels, SOFT_TISSUE), (wall, SOFT_TISSUE + 10)):
        surroundings = surroundings + amount * (value - surroundings)

    def render(spiculated: bool) -> np.ndarray:
        voxels = blurred(drawn.put_into(surroundings, spiculated), settings.spacing) + noise
        return hounsfield(np.where(marker, METAL, voxels))

    distance, edge, reach = drawn.distance, drawn.edge, nodule.reach(needles)
    image = Image(render(malignant)[None], axial(settings.size, settings.spacing), id)
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
            "nodule": drawn.body > 0.5,
            "spicules": (drawn.spicules > 0.1) & malignant,
            "margin": (distance > edge - 1.5 * max(settings.spacing)) & (distance <= reach + max(settings.spacing)),
            "calcification": drawn.calcification > 0.5,
            "vessels": vessels > 0.5,
            "pleura": wall > 0.5,
            "marker": marker,
        },
        decisive="spicules" if malignant else "margin",
        counterfactual=image.with_array(render(not malignant)[None], f"{id}-counterfactual"),
    )


def nodules(seed: int, count: int, settings: NoduleSettings, start: int = 0) -> Iterator[Phantom]:
    """Draw many nodules; the n-th depends on ``seed`` and ``n`` alone.

    Args:
        seed: Names the whole endless series.
        count: How many to draw.
        settings: What to draw.
        start: Number of the first one.
    """
    for number in range(start, start + count):
        yield make_nodule(numbered_rng(seed, number), settings, f"nodule-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[Phantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j, k = options.size
    return nodules(options.seed, options.count, NoduleSettings((i, j, k), confound=options.confound), options.start)


def _draw_vessels(rng: np.random.Generator, settings: NoduleSettings, nodule: Nodule) -> list[Tube]:
    """Draw branching vessels; some pass the nodule and look like spicules."""
    tubes: list[Tube] = []
    for _ in range(int(rng.integers(1, 4))):
        start = random_directions(rng, 1)[0] * settings.extent * 0.6
        aim = nodule.centre + rng.normal(0, 2.5 * nodule.radius, 3)
        grow_tree(rng, tubes, start, aim - start, float(rng.uniform(0.9, 1.8)), branchings=2)
    return tubes


def _draw_wall(rng: np.random.Generator, points: np.ndarray, nodule: Nodule) -> tuple[np.ndarray, bool]:
    """Draw the chest wall on one side, slightly curved, in every second volume; it may touch the nodule."""
    inwards = random_directions(rng, 1)[0]
    gap = nodule.radius * float(rng.uniform(0.8, 2.0))
    present = bool(rng.random() < 0.5)
    offset: np.ndarray = points - nodule.centre.astype(np.float32)
    height = offset @ inwards.astype(np.float32)
    beside = np.sum(np.square(offset), axis=-1) - np.square(height)
    return soft_inside(-(height + gap) + 0.006 * beside, 0.5) * present, present and gap < 1.1 * nodule.radius


def _marker(settings: NoduleSettings) -> np.ndarray:
    """Return the voxels of the metal block: about 3 mm along each axis, a voxel from the corner."""
    block = tuple(slice(1, 1 + max(1, round(3 / step))) for step in settings.spacing)
    drawn = np.zeros(settings.size, dtype=bool)
    drawn[block] = True
    return drawn
