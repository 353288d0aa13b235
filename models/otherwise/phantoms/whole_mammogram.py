"""Synthetic mammograms of whole size, with no, one or several masses, each smooth (benign) or spiculated (malignant).

Masses, tissue and lines are those of ``mammogram``, in millimetres, so that a patch of a whole mammogram shows what a
small one shows; with less noise, since the detector is finer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.phantoms import muscle as pectoral
from otherwise.phantoms.mass import Mass, body, draw_mass, draw_spicules, polar, reach
from otherwise.phantoms.phantom import MALIGNANT, Lesion, WholePhantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import draw_label, numbered_rng
from otherwise.phantoms.shapes import Stroke, draw_strokes, lobed_radius, pixel_places, power_law_noise, smooth_step

APART = 42.0
"""Least distance of two masses in millimetres, so that a patch shows one."""
DEEP = 14.0
"""Least depth of a mass under the skin in millimetres."""
OVER_MUSCLE = 5.0
"""Millimetres that the centre of a mass may lie within the border of the muscle."""
COARSE = 2
"""The tissue is drawn on pixels so much larger: it has nothing finer, and the Fourier transform takes long."""


@dataclass(frozen=True)
class WholeMammogramSettings:
    """Settings of whole phantom mammograms.

    Attributes:
        size: Pixels along i (columns) and j (rows).
        spacing: Distance of pixel centres in millimetres.
        most: Most masses; their number is drawn evenly from 0 to this.
        radius: Least and largest radius of a mass in millimetres.
        midway: Millimetres: masses lie midway between the points of a grid of this step that begins in the field's
            corner, where a search with this step sees them worst. None: anywhere.
        oblique: A mediolateral oblique view, with the armpit and the pectoral muscle.

    Raises:
        ImageError: if the field is too small for a breast, or no mass can be drawn.
    """

    size: tuple[int, int] = (2400, 3000)
    spacing: float = 0.1
    most: int = 4
    radius: tuple[float, float] = (3.5, 8.0)
    midway: float | None = None
    oblique: bool = False

    def __post_init__(self) -> None:
        if min(self.size) * self.spacing < 120 or self.spacing <= 0:
            raise ImageError(
                f"A field of {self.size} pixels of {self.spacing} mm holds no whole breast.", "Give 120 mm and more."
            )
        if not 0 <= self.most <= 8:
            raise ImageError(f"{self.most} masses are too many for a breast.", "Give at most 8.")
        low, high = self.radius
        if not 0.5 <= low <= high <= DEEP:
            raise ImageError(f"No mass has a radius of {low:g} to {high:g} mm.", f"Give 0.5 to {DEEP:g} mm.")
        if self.midway is not None and self.midway <= 0:
            raise ImageError(f"A grid has no step of {self.midway:g} mm.", "Give a positive one.")


def make_whole_mammogram(
    rng: np.random.Generator, settings: WholeMammogramSettings, id: str = "whole-mammogram"
) -> WholePhantom:
    """Draw one whole mammogram and its truth.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 2-D phantom with grey values in [0, 1].
    """
    x, y = pixel_places(settings.size, settings.spacing)
    mirrored = bool(rng.random() < 0.5)
    depth, size = _draw_outline(rng, x, y)
    muscle = pectoral.random_muscle(rng, float(x[-1, 0]), float(y[0, -1])) if settings.oblique else None
    in_muscle = pectoral.depth_in(muscle, x, y) if muscle else np.full_like(depth, -np.inf)
    if muscle:
        depth = pectoral.with_armpit(depth, muscle, in_muscle)
    density = float(rng.uniform(0.1, 0.9))
    grey = _draw_tissue(rng, settings, depth, density)
    if muscle:
        grey = pectoral.draw_muscle(rng, muscle, grey, in_muscle, settings.spacing)
    # Masses lie within the tissue's extent; further ones are given up where no room is left.
    masses = _place_masses(rng, settings, depth, in_muscle, int(rng.integers(0, settings.most + 1)))
    for stroke in _draw_lines(rng, size):
        window = _window(settings, stroke.start, stroke.length + 3)
        grey[window] += draw_strokes([stroke], x[window[0]], y[:, window[1]])
    for centre, width, strength in _draw_specks(rng, size):
        window = _window(settings, centre, 5 * width)
        squared = np.square(x[window[0]] - centre[0]) + np.square(y[:, window[1]] - centre[1])
        grey[window] += strength * np.exp(squared / (-2 * width**2))
    labels = np.zeros(settings.size, np.uint8)
    lesions = []
    for number, mass in enumerate(masses, start=1):
        label = draw_label(rng)
        strokes = draw_spicules(rng, mass, float(rng.uniform(0.2, 1.0)))
        radius = reach(mass, strokes) if label == MALIGNANT else 1.3 * mass.radius
        window = _window(settings, mass.centre, radius + 2)
        across, along = x[window[0]], y[:, window[1]]
        drawn = body(mass, *polar(mass, across, along))
        if label == MALIGNANT:
            drawn = drawn + draw_strokes(strokes, across, along) * (1 - drawn)
        grey[window] += mass.contrast * drawn
        labels[window][(drawn > 0.15) & (depth[window] > 0)] = number
        lesions.append((label, mass, strokes if label == MALIGNANT else []))
    noise = rng.standard_normal(settings.size, dtype=np.float32)
    dose = float(rng.uniform(300, 900)) * (settings.spacing / 0.25) ** 2
    grey = 0.03 + np.sqrt(smooth_step(depth / 9)) * grey
    grey = ndimage.gaussian_filter(grey, float(rng.uniform(0.2, 0.4)) / settings.spacing, truncate=3)
    grey += noise * np.sqrt(np.maximum(grey, 0) / dose)
    # A detector counts in 16 bits; so a DICOM file holds the very same values.
    grey = (np.round(np.clip(grey, 0, 1) * 65535) / 65535).astype(np.float32)
    inside, muscular = depth > 0, in_muscle > 0
    if mirrored:
        grey, labels, inside, muscular = grey[::-1], labels[::-1], inside[::-1], muscular[::-1]
    geometry = Geometry((*settings.size, 1), np.diag([-settings.spacing, -settings.spacing, 1.0, 1.0]))
    return WholePhantom(
        image=Image(np.ascontiguousarray(grey)[None, ..., None], geometry, id, dimension=2),
        lesions=tuple(_describe(number, *lesion, geometry, mirrored) for number, lesion in enumerate(lesions, start=1)),
        labels=np.ascontiguousarray(labels)[..., None],
        foreground=np.ascontiguousarray(inside)[..., None],
        attributes={"density": "abcd"[min(int((density - 0.1) / 0.2), 3)], "mirrored": mirrored},
        muscle=np.ascontiguousarray(muscular)[..., None] if muscle else None,
    )


def whole_mammograms(seed: int, count: int, settings: WholeMammogramSettings, start: int = 0) -> Iterator[WholePhantom]:
    """Draw many; the n-th depends on ``seed`` and ``n`` alone. Arguments as for ``mammogram.mammograms``."""
    for number in range(start, start + count):
        yield make_whole_mammogram(numbered_rng(seed, number), settings, f"whole-mammogram-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[WholePhantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j = options.size
    return whole_mammograms(options.seed, options.count, WholeMammogramSettings((i, j)), options.start)


def _draw_outline(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return the depth under the skin in mm (negative in air), the half axes along i and j, and the nipple's height."""
    width, height = float(x[-1, 0]), float(y[0, -1])
    across, along = width * float(rng.uniform(0.5, 0.7)), height * float(rng.uniform(0.32, 0.43))
    middle = height * float(rng.uniform(0.45, 0.55))
    right, down = x / across, (y - middle) / along
    angle = np.arctan2(down, right)
    wave = lobed_radius(angle, 1.0, rng.normal(0, 0.015, 3), rng.uniform(0, 2 * np.pi, 3))
    depth = (wave - np.hypot(right, down)) * min(across, along)
    return depth.astype(np.float32), (across, along, middle)


def _draw_tissue(
    rng: np.random.Generator, settings: WholeMammogramSettings, depth: np.ndarray, density: float
) -> np.ndarray:
    """Draw fat with glandular tissue in it, and the skin."""
    coarse = tuple(-(-edge // COARSE) for edge in settings.size)
    step = COARSE * settings.spacing
    noise = power_law_noise(rng, coarse, (step, step), exponent=3.0, longest=48.0)
    noise = ndimage.zoom(noise, COARSE, order=1)[: settings.size[0], : settings.size[1]]
    gland = 1 / (1 + np.exp(-2.2 * (noise - 2.2 * (0.5 - density))))
    gland *= smooth_step((depth - 1.5) / 8)
    skin = np.exp(-np.square((depth - 0.7) / 0.5))
    return np.asarray(0.22 + 0.26 * gland + 0.035 * noise + 0.1 * skin, dtype=np.float32)


def _place_masses(
    rng: np.random.Generator, settings: WholeMammogramSettings, depth: np.ndarray, in_muscle: np.ndarray, count: int
) -> list[Mass]:
    """Draw masses under the skin, apart from each other, and over no more than the muscle's border."""
    masses: list[Mass] = []
    for _ in range(60 * count):
        index = rng.integers(0, settings.size)
        if settings.midway is not None:
            step = settings.midway / settings.spacing
            index = np.minimum((np.floor(index / step) + 0.5) * step, np.array(settings.size) - 1).astype(int)
        centre = ((index[0] + 0.5) * settings.spacing, (index[1] + 0.5) * settings.spacing)
        far = all(np.hypot(centre[0] - m.centre[0], centre[1] - m.centre[1]) > APART for m in masses)
        if len(masses) == count:
            break
        over_muscle = in_muscle[tuple(index)] > OVER_MUSCLE
        at_edge = centre[0] < DEEP or (settings.oblique and centre[1] < DEEP)
        if depth[tuple(index)] < DEEP or at_edge or over_muscle or not far:
            continue
        masses.append(draw_mass(rng, centre, float(rng.uniform(*settings.radius))))
    return masses


def _draw_lines(rng: np.random.Generator, size: tuple[float, float, float]) -> list[Stroke]:
    """Draw ducts, ligaments and vessels, which look like spicules, as dense as in a small mammogram."""
    across, along, middle = size
    strokes = []
    for _ in range(int(rng.integers(25, 60))):
        angle, length = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(10, 28))
        x, y = rng.uniform([0.02, -0.85], [0.9, 0.85]) * (across, along) + (0, middle)
        start = (float(x - 0.5 * length * np.cos(angle)), float(y - 0.5 * length * np.sin(angle)))
        bend, width = float(rng.normal(0, 0.008)), float(rng.uniform(0.25, 0.6))
        strokes.append(
            Stroke(start, angle, length, bend, width, float(rng.uniform(0.03, 0.13)), float(rng.uniform(0, 0.5)))
        )
    return strokes


def _draw_specks(
    rng: np.random.Generator, size: tuple[float, float, float]
) -> list[tuple[tuple[float, float], float, float]]:
    """Draw clusters of bright specks (centre, width, strength) that are independent of the class."""
    across, along, middle = size
    specks = []
    for _ in range(int(rng.integers(0, 4))):
        cluster = rng.uniform([0.1, -0.6], [0.7, 0.6]) * (across, along) + (0, middle)
        for _ in range(int(rng.integers(4, 14))):
            x, y = cluster + rng.normal(0, 2.5, 2)
            specks.append(((float(x), float(y)), float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.15, 0.4))))
    return specks


def _window(settings: WholeMammogramSettings, centre: tuple[float, float], radius: float) -> tuple[slice, slice]:
    """Return the pixels within a square about a place; none where it lies outside."""

    def along(axis: int) -> slice:
        first, last = ((centre[axis] + sign * radius) / settings.spacing for sign in (-1, 1))
        begin = min(max(0, int(first)), settings.size[axis])
        return slice(begin, min(max(begin, int(last) + 1), settings.size[axis]))

    return along(0), along(1)


def _describe(number: int, label: str, mass: Mass, strokes: list[Stroke], geometry: Geometry, mirrored: bool) -> Lesion:
    spacing = geometry.spacing[0]
    i, j = mass.centre[0] / spacing - 0.5, mass.centre[1] / spacing - 0.5
    index = (geometry.shape[0] - 1 - i if mirrored else i, j, 0.0)
    r, a, s = (float(value) for value in geometry.to_ras(np.array(index)))
    return Lesion(
        number=number,
        label=label,
        centre_ras=(r, a, s),
        attributes={
            "size_mm": round(2 * mass.radius, 2),
            "margin": "spiculated" if strokes else "circumscribed",
            "spicules": len(strokes),
            "contrast": round(mass.contrast, 3),
        },
    )
