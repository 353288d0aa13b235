"""Synthetic mammograms with one mass: smooth (benign) or spiculated (malignant)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.phantoms.breast import (
    Breast,
    digitised,
    draw_breast,
    draw_exposure,
    draw_lines,
    draw_mass_within,
    draw_tissue,
    image_plane,
    one_slice,
)
from otherwise.phantoms.mass import Mass, body, draw_spicules, polar, reach
from otherwise.phantoms.phantom import CLASSES, MALIGNANT, Phantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import check_confound, draw_label, draw_marked, numbered_rng
from otherwise.phantoms.shapes import draw_strokes, pixel_places, smooth_step

RIGHT = ("11110", "10001", "10001", "11110", "10100", "10010", "10001")
LEFT = ("10000", "10000", "10000", "10000", "10000", "10000", "11111")
"""The burned-in side markers R and L, row by row."""


@dataclass(frozen=True)
class MammogramSettings:
    """Settings of phantom mammograms.

    Attributes:
        size: Pixels along i (columns) and j (rows).
        field_of_view: Length of the longer side in millimetres.
        confound: None: no marker. Otherwise the probability with which the burned-in marker follows the class
            (present exactly if malignant); in the remaining images it is present at random in every second one.

    Raises:
        ImageError: if a size is too small to show a mass, or ``confound`` is no probability.
    """

    size: tuple[int, int] = (96, 96)
    field_of_view: float = 48.0
    confound: float | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 32:
            raise ImageError(f"A mammogram of size {self.size} is too small.", "Give at least 32,32.")
        if 2 * min(self.size) < max(self.size):
            raise ImageError(f"A mammogram of size {self.size} is too narrow.", "Give sides of a ratio up to 2.")
        if not 24 <= self.field_of_view <= 240:
            raise ImageError(f"A field of view of {self.field_of_view} mm holds no breast.", "Give 24 to 240 mm.")
        check_confound(self.confound)

    @property
    def spacing(self) -> float:
        """Return the distance of pixel centres in millimetres."""
        return self.field_of_view / max(self.size)


def make_mammogram(rng: np.random.Generator, settings: MammogramSettings, id: str = "mammogram") -> Phantom:
    """Draw one mammogram, its truth and its true counterfactual.

    Everything is drawn for both classes, so that both classes differ in the spicules and in nothing else.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 2-D phantom with grey values in [0, 1] and the masks ``breast``, ``mass``, ``spicules``, ``margin`` (all
        around the mass as far as its spicules reach or would reach), ``calcifications``, ``lines`` and ``marker``.
    """
    x, y = pixel_places(settings.size, settings.spacing)
    label = draw_label(rng)
    marked = draw_marked(rng, settings.confound, label)
    mirrored = bool(rng.random() < 0.5)
    breast = draw_breast(rng, x, y)
    density = float(rng.uniform(0.1, 0.9))
    tissue = draw_tissue(rng, settings.size, settings.spacing, breast, density)
    mass = draw_mass_within(rng, breast)
    lines = draw_strokes(draw_lines(rng, breast, mass), x, y)
    calcified = bool(rng.random() < 0.3)
    calcifications = _draw_calcifications(rng, breast, mass, x, y) * calcified
    spiculation = float(rng.uniform(0.2, 1.0))
    strokes = draw_spicules(rng, mass, spiculation)
    exposure = draw_exposure(rng, settings.size)

    distance, edge = polar(mass, x, y)
    solid = body(mass, distance, edge)
    spicules = draw_strokes(strokes, x, y)
    # The further the ray's way through the tissue, the brighter; at the skin it is short.
    thickness = np.sqrt(smooth_step(breast.depth / 9))
    marker = _marker(settings, mirrored) & marked

    def render(spiculated: bool) -> np.ndarray:
        lesion = solid + spicules * (1 - solid) if spiculated else solid
        grey = 0.03 + thickness * (tissue + lines + mass.contrast * lesion + calcifications)
        grey = digitised(np.where(marker, 0.95, exposure.take(grey, settings.spacing)))
        return grey[::-1] if mirrored else grey

    inside = breast.depth > 0
    malignant = label == MALIGNANT
    around = (distance > edge - 1.5 * settings.spacing) & (distance <= reach(mass, strokes) + settings.spacing)
    masks = {
        "breast": inside,
        "mass": (solid > 0.5) & inside,
        "spicules": (spicules * (1 - solid) > 0.1) & inside & malignant,
        "margin": around & inside,
        "calcifications": (calcifications > 0.05) & inside,
        "lines": (lines > 0.02) & inside,
        "marker": marker,
    }
    geometry = image_plane(settings.size, settings.spacing)
    image = Image(one_slice(render(malignant))[None], geometry, id, dimension=2)
    return Phantom(
        image=image,
        label=label,
        classes=CLASSES,
        attributes={
            "size_mm": round(2 * mass.radius, 2),
            "margin": "spiculated" if malignant else "circumscribed",
            "spicules": len(strokes) if malignant else 0,
            "spiculation": round(spiculation, 3) if malignant else 0.0,
            "contrast": round(mass.contrast, 3),
            "density": "abcd"[min(int((density - 0.1) / 0.2), 3)],
            "calcified": calcified,
            "marker": marked,
            "mirrored": mirrored,
        },
        masks={name: one_slice(mask[::-1] if mirrored else mask) for name, mask in masks.items()},
        decisive="spicules" if malignant else "margin",
        counterfactual=image.with_array(one_slice(render(not malignant))[None], f"{id}-counterfactual"),
    )


def mammograms(seed: int, count: int, settings: MammogramSettings, start: int = 0) -> Iterator[Phantom]:
    """Draw many mammograms; the n-th depends on ``seed`` and ``n`` alone.

    Args:
        seed: Names the whole endless series.
        count: How many to draw.
        settings: What to draw.
        start: Number of the first one.
    """
    for number in range(start, start + count):
        yield make_mammogram(numbered_rng(seed, number), settings, f"mammogram-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[Phantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j = options.size
    return mammograms(options.seed, options.count, MammogramSettings((i, j), confound=options.confound), options.start)


def _draw_calcifications(
    rng: np.random.Generator, breast: Breast, mass: Mass, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Return a cluster of bright specks, in the mass or elsewhere, that says nothing about the class."""
    count = int(rng.integers(4, 14))
    elsewhere = rng.uniform([0.15, -0.5], [0.6, 0.5]) * breast.reach + [0, breast.middle]
    centre = np.asarray(mass.centre) if rng.random() < 0.5 else elsewhere
    points = centre + rng.normal(0, 0.5 * mass.radius, (count, 2))
    drawn = np.zeros(breast.depth.shape, dtype=np.float32)
    for point, width, strength in zip(
        points, rng.uniform(0.15, 0.35, count), rng.uniform(0.15, 0.4, count), strict=True
    ):
        squared = np.square(x - point[0]) + np.square(y - point[1])
        drawn = np.maximum(drawn, strength * np.exp(squared / (-2 * width**2)))
    return drawn * (breast.depth > 0)


def _marker(settings: MammogramSettings, mirrored: bool) -> np.ndarray:
    """Return the pixels of the burned-in letter, in the upper corner away from the chest wall."""
    letter = np.array([[cell == "1" for cell in row] for row in (LEFT if mirrored else RIGHT)]).T
    if mirrored:  # the breast will be turned over, the letter is to be read
        letter = letter[::-1]
    dot = max(1, round(min(settings.size) / 96))
    letter = np.repeat(np.repeat(letter, dot, axis=0), dot, axis=1)
    drawn = np.zeros(settings.size, dtype=bool)
    gap = 3 * dot
    drawn[-gap - letter.shape[0] : -gap, gap : gap + letter.shape[1]] = letter
    return drawn
