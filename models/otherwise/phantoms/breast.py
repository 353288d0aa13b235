"""A breast in a mammogram: outline, tissue, lines, places for a mass, exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from otherwise.images.image import Geometry
from otherwise.phantoms.mass import Mass, draw_mass
from otherwise.phantoms.shapes import Stroke, lobed_radius, power_law_noise, smooth_step


@dataclass(frozen=True)
class Breast:
    """The breast's outline: half an ellipse on the chest wall."""

    depth: np.ndarray
    """Millimetres from the skin inwards, negative in air."""
    reach: tuple[float, float]
    """Half axes of the ellipse along i and j."""
    middle: float
    """Height of the nipple along j."""


@dataclass(frozen=True)
class Exposure:
    """Sharpness and noise of a picture.

    Attributes:
        blur: Standard deviation in millimetres.
        dose: Quanta per unit of grey.
        noise: Standard normal, of the image's size.
    """

    blur: float
    dose: float
    noise: np.ndarray

    def take(self, grey: np.ndarray, spacing: float) -> np.ndarray:
        """Blur, and count quanta: the variance follows the signal (Poisson, by its normal approximation)."""
        grey = ndimage.gaussian_filter(grey, self.blur / spacing, truncate=3)
        return np.asarray(grey + self.noise * np.sqrt(np.maximum(grey, 0) / self.dose))


def draw_exposure(rng: np.random.Generator, size: tuple[int, int]) -> Exposure:
    """Draw how a picture is taken."""
    blur, dose = float(rng.uniform(0.2, 0.4)), float(rng.uniform(300, 900))
    return Exposure(blur, dose, rng.standard_normal(size, dtype=np.float32))


def digitised(grey: np.ndarray) -> np.ndarray:
    """Round to the 16 bits of a detector, float32 in [0, 1], so that a DICOM file holds the very same values."""
    return (np.round(np.clip(grey, 0, 1) * 65535) / 65535).astype(np.float32)


def draw_breast(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Breast:
    """Draw an outline; ``x (i, 1)`` and ``y (1, j)`` are the pixels' places in millimetres."""
    width, height = float(x[-1, 0]), float(y[0, -1])
    reach = (width * float(rng.uniform(0.72, 0.9)), height * float(rng.uniform(0.5, 0.7)))
    middle = height * float(rng.uniform(0.42, 0.58))
    right, down = x / reach[0], (y - middle) / reach[1]
    angle = np.arctan2(down, right)
    wave = lobed_radius(angle, 1.0, rng.normal(0, 0.015, 3), rng.uniform(0, 2 * np.pi, 3))
    depth = (wave - np.hypot(right, down)) * min(reach)
    return Breast(depth.astype(np.float32), reach, middle)


def draw_tissue(
    rng: np.random.Generator, size: tuple[int, int], spacing: float, breast: Breast, density: float
) -> np.ndarray:
    """Draw fat with glandular tissue in it, and the skin."""
    noise = power_law_noise(rng, size, (spacing, spacing), exponent=3.0, longest=spacing * max(size))
    gland = 1 / (1 + np.exp(-2.2 * (noise - 2.2 * (0.5 - density))))
    gland *= smooth_step((breast.depth - 1.5) / 8)
    skin = np.exp(-np.square((breast.depth - 0.7) / 0.5))
    return 0.22 + 0.26 * gland + 0.035 * noise + 0.1 * skin


def draw_mass_within(rng: np.random.Generator, breast: Breast) -> Mass:
    """Draw a mass somewhere in the breast."""
    radius = min(breast.reach) * float(rng.uniform(0.12, 0.24))
    angle, outwards = rng.uniform(-1.0, 1.0), rng.uniform(0.3, 0.62)
    centre = (
        max(breast.reach[0] * outwards * np.cos(angle), 1.6 * radius),
        breast.middle + breast.reach[1] * outwards * np.sin(angle),
    )
    return draw_mass(rng, centre, radius)


def draw_lines(rng: np.random.Generator, breast: Breast, mass: Mass) -> list[Stroke]:
    """Draw ducts, ligaments and vessels anywhere, some across the mass: they look like spicules."""
    strokes = []
    for near in [False] * int(rng.integers(4, 10)) + [True] * int(rng.integers(0, 3)):
        angle = float(rng.uniform(0, 2 * np.pi))
        length = float(rng.uniform(0.25, 0.7)) * breast.reach[0]
        if near:
            point = rng.normal(0, 0.8 * mass.radius, 2) + mass.centre
        else:
            point = rng.uniform([0.05, -0.7], [0.85, 0.7]) * breast.reach + [0, breast.middle]
        strokes.append(
            Stroke(
                start=(
                    float(point[0] - 0.5 * length * np.cos(angle)),
                    float(point[1] - 0.5 * length * np.sin(angle)),
                ),
                angle=angle,
                length=length,
                bend=float(rng.normal(0, 0.008)),
                width=float(rng.uniform(0.25, 0.6)),
                strength=float(rng.uniform(0.03, 0.13)),
                fade=float(rng.uniform(0, 0.5)),
            )
        )
    return strokes


def image_plane(size: tuple[int, int], spacing: float) -> Geometry:
    """Return an image plane as DICOM and ITK lay it (LPS), in RAS."""
    return Geometry((*size, 1), np.diag([-spacing, -spacing, 1.0, 1.0]))


def one_slice(plane: np.ndarray) -> np.ndarray:
    """Reshape ``(i, j)`` to ``(i, j, 1)``."""
    return np.ascontiguousarray(plane[..., None])
