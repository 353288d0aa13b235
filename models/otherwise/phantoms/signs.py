"""Synthetic mammograms in which one of several signs makes a finding malignant: a common one, or a rare one.

What decides is often rare: the share of each sign is of the order in which they are met among screen-detected cancers
(masses with spiculated margin most, then suspicious calcifications; distortion and skin thickening seldom).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
from otherwise.phantoms.mammogram import MammogramSettings
from otherwise.phantoms.mass import Mass, body, draw_spicules, polar, reach
from otherwise.phantoms.phantom import CLASSES, MALIGNANT, Phantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import draw_label, numbered_rng
from otherwise.phantoms.shapes import Stroke, draw_strokes, pixel_places, smooth_step

SIGNS = {"spicules": 0.5, "microcalcifications": 0.22, "distortion": 0.16, "skin": 0.12}
"""Share of each sign among malignant findings."""


@dataclass(frozen=True, eq=False)
class Sign:
    """The feature that differs between the classes.

    Attributes:
        name: One of ``SIGNS``.
        light: Grey values that it adds, ``(i, j)``.
        around: Where it is, or would be, with what is close about it; bool ``(i, j)``.
    """

    name: str
    light: np.ndarray
    around: np.ndarray


def make_sign_mammogram(rng: np.random.Generator, settings: MammogramSettings, id: str = "signs") -> Phantom:
    """Draw one mammogram, its truth and its true counterfactual: the same with or without its sign.

    Everything is drawn for both classes, so that both classes differ in the sign and in nothing else; a smooth mass,
    lines, and large round calcifications say nothing about the class.

    Args:
        rng: Source of all randomness.
        settings: What to draw; the marker is not drawn.
        id: Name of the image.

    Returns:
        A 2-D phantom with grey values in [0, 1] and the masks ``breast``, ``mass``, each of ``SIGNS`` (empty unless it
        is there), ``place`` (where its sign is, or would be), ``margin`` (around the mass, as far as spicules reach),
        ``round-calcifications`` and ``lines``.
    """
    x, y = pixel_places(settings.size, settings.spacing)
    label = draw_label(rng)
    name = str(rng.choice(list(SIGNS), p=list(SIGNS.values())))
    mirrored = bool(rng.random() < 0.5)
    breast = draw_breast(rng, x, y)
    density = float(rng.uniform(0.1, 0.9))
    tissue = draw_tissue(rng, settings.size, settings.spacing, breast, density)
    mass = draw_mass_within(rng, breast)
    lines = draw_strokes(draw_lines(rng, breast, mass), x, y)
    rounds = _draw_rounds(rng, breast, x, y) * (rng.random() < 0.4)
    distance, edge = polar(mass, x, y)
    solid = body(mass, distance, edge)
    sign = _draw_sign(rng, name, breast, mass, solid, x, y)
    exposure = draw_exposure(rng, settings.size)
    thickness = np.sqrt(smooth_step(breast.depth / 9))

    def render(shown: bool) -> np.ndarray:
        grey = 0.03 + thickness * (tissue + lines + mass.contrast * solid + rounds + shown * sign.light)
        grey = digitised(exposure.take(grey, settings.spacing))
        return grey[::-1] if mirrored else grey

    inside = breast.depth > 0
    malignant = label == MALIGNANT
    masks = {
        "breast": inside,
        "mass": (solid > 0.5) & inside,
        **{each: (sign.light > 0.02) & inside & malignant & (each == name) for each in SIGNS},
        "place": sign.around & inside,
        "margin": (distance > edge - 1) & (distance <= edge + 0.8 * mass.radius) & inside,
        "round-calcifications": (rounds > 0.05) & inside,
        "lines": (lines > 0.02) & inside,
    }
    image = Image(one_slice(render(malignant))[None], image_plane(settings.size, settings.spacing), id, dimension=2)
    return Phantom(
        image=image,
        label=label,
        classes=CLASSES,
        attributes={
            "sign": name if malignant else "none",
            "would_be": name,
            "size_mm": round(2 * mass.radius, 2),
            "contrast": round(mass.contrast, 3),
            "density": "abcd"[min(int((density - 0.1) / 0.2), 3)],
            "mirrored": mirrored,
        },
        masks={key: one_slice(mask[::-1] if mirrored else mask) for key, mask in masks.items()},
        decisive=name if malignant else "place",
        counterfactual=image.with_array(one_slice(render(not malignant))[None], f"{id}-counterfactual"),
    )


def sign_mammograms(seed: int, count: int, settings: MammogramSettings, start: int = 0) -> Iterator[Phantom]:
    """Draw many; the n-th depends on ``seed`` and ``n`` alone. Arguments as for ``mammogram.mammograms``."""
    for number in range(start, start + count):
        yield make_sign_mammogram(numbered_rng(seed, number), settings, f"signs-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[Phantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j = options.size
    return sign_mammograms(options.seed, options.count, MammogramSettings((i, j)), options.start)


def _draw_sign(
    rng: np.random.Generator,
    name: str,
    breast: Breast,
    mass: Mass,
    solid: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> Sign:
    if name == "spicules":
        strokes = draw_spicules(rng, mass, float(rng.uniform(0.3, 1.0)))
        distance, edge = polar(mass, x, y)
        around = (distance > edge - 1) & (distance <= reach(mass, strokes))
        return Sign(name, mass.contrast * draw_strokes(strokes, x, y) * (1 - solid), around)
    if name == "skin":
        return _thickened_skin(rng, breast, x, y)
    centre = _place_apart(rng, breast, mass)
    if name == "microcalcifications":
        radius = float(rng.uniform(3.0, 5.0))
        light = _draw_specks(rng, centre, radius, x, y)
    else:
        radius = float(rng.uniform(6.0, 9.0))
        light = draw_strokes(_radiating(rng, centre, radius), x, y)
    around = np.hypot(x - centre[0], y - centre[1]) <= radius
    return Sign(name, (light * (breast.depth > 0)).astype(np.float32), around)


def _place_apart(rng: np.random.Generator, breast: Breast, mass: Mass) -> tuple[float, float]:
    """Return a place in the breast, the farthest from the mass of a few that were tried."""
    tried = rng.uniform([0.15, -0.5], [0.6, 0.5], (6, 2)) * breast.reach + [0, breast.middle]
    far = np.hypot(*(tried - mass.centre).T)
    x, y = tried[int(far.argmax())]
    return float(x), float(y)


def _draw_specks(
    rng: np.random.Generator, centre: tuple[float, float], radius: float, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Draw fine pleomorphic calcifications (BI-RADS): fine, of many shapes, grouped."""
    count = int(rng.integers(9, 18))
    points = np.array(centre) + np.clip(rng.normal(0, 0.45 * radius, (count, 2)), -0.9 * radius, 0.9 * radius)
    light = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for point, width, strength, angle, ratio in zip(
        points,
        rng.uniform(0.16, 0.3, count),
        rng.uniform(0.25, 0.5, count),
        rng.uniform(0, np.pi, count),
        rng.uniform(1.0, 2.5, count),
        strict=True,
    ):
        right, down = x - point[0], y - point[1]
        along, across = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
        squared = np.square(along / (ratio * width)) + np.square(across / width)
        light = np.maximum(light, strength * np.exp(-squared / 2))
    return light


def _radiating(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> list[Stroke]:
    """Draw an architectural distortion: lines that run to a point at which there is no mass."""
    count = int(rng.integers(9, 15))
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.4, 0.4, count)) / count
    return [
        Stroke(
            start=(centre[0] + 1.2 * np.cos(angle), centre[1] + 1.2 * np.sin(angle)),
            angle=float(angle + rng.normal(0, 0.08)),
            length=(radius - 1.2) * float(rng.uniform(0.7, 1.0)),
            bend=float(rng.normal(0, 0.01)),
            width=float(rng.uniform(0.35, 0.55)),
            strength=float(rng.uniform(0.22, 0.4)),
            fade=float(rng.uniform(0.1, 0.4)),
        )
        for angle in angles
    ]


def _thickened_skin(rng: np.random.Generator, breast: Breast, x: np.ndarray, y: np.ndarray) -> Sign:
    """Return a stretch of skin that is several millimetres thick."""
    middle, half = float(rng.uniform(-0.9, 0.9)), float(rng.uniform(0.3, 0.5))
    angle = np.arctan2((y - breast.middle) / breast.reach[1], x / breast.reach[0])
    along = smooth_step((half - np.abs(angle - middle)) / 0.15)
    thick, strength = float(rng.uniform(3.0, 5.0)), float(rng.uniform(0.35, 0.6))
    across = smooth_step(breast.depth / 0.8) * smooth_step((thick - breast.depth) / 1.2)
    return Sign("skin", (strength * along * across).astype(np.float32), (along > 0.1) & (breast.depth < thick + 1))


def _draw_rounds(rng: np.random.Generator, breast: Breast, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a few large round calcifications, which are benign."""
    drawn = np.zeros(breast.depth.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        place = rng.uniform([0.1, -0.6], [0.75, 0.6]) * breast.reach + [0, breast.middle]
        radius, strength = float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.25, 0.45))
        drawn = np.maximum(drawn, strength * smooth_step((radius - np.hypot(x - place[0], y - place[1])) / 0.4 + 0.5))
    return drawn * (breast.depth > 0)
