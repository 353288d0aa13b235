"""A made-up but plausible explanation: a spiculated mass (2-D) or a hazy nodule (3-D) that would have to be smooth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    ModelRef,
    PathPoint,
    Prediction,
    Probabilities,
    Region,
    Volumes,
)
from otherwise.images.image import Geometry, Image

STRENGTHS = (0.0, 0.5, 0.9, 1.2, 1.6, 2.2, 3.0)
MALIGNANT = (0.934, 0.861, 0.622, 0.381, 0.157, 0.052, 0.003)


def oblique(spacing: tuple[float, float, float]) -> np.ndarray:
    """An affine turned about two axes by odd angles; columns run towards L, rows towards P."""
    a, b = 0.21, -0.13
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = (41.7, 1 / 3, -812.25)
    return affine


def tissue(rng: np.random.Generator, shape: tuple[int, ...], power: float) -> np.ndarray:
    """Noise with a power-law spectrum, zero mean, unit deviation."""
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(size) for size in shape], indexing="ij")))
    frequency.flat[0] = 1
    spectrum = np.fft.fftn(rng.standard_normal(shape)) / frequency**power
    noise = np.fft.ifftn(spectrum).real
    return (noise - noise.mean()) / noise.std()


def mammogram(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Background, spiculated mass, smooth mass and two region masks, each ``(i, j)``; grey values about 0 to 1."""
    j, i = np.meshgrid(*[np.linspace(0, 1, size)] * 2, indexing="xy")
    i, j = j, i
    breast = 1 / (1 + np.exp(((i / 0.8) ** 2 + ((j - 0.5) / 0.47) ** 2 - 1) * 25))
    background = breast * (0.36 + 0.07 * tissue(rng, (size, size), 1.5))
    di, dj = i - 0.42, j - 0.56
    radius, angle = np.hypot(di, dj), np.arctan2(dj, di)
    edge = 0.065 + 0.07 * np.clip(np.cos(7 * angle + 0.6), 0, 1) ** 6 + 0.03 * np.clip(np.cos(4 * angle), 0, 1) ** 10
    spiculated = 0.42 / (1 + np.exp((radius - edge) * 90))
    smooth = 0.38 / (1 + np.exp((radius - 0.078) * 90))
    second = np.hypot(i - 0.2, j - 0.3) < 0.05
    return background, spiculated + 0.05 * second, smooth, [np.hypot(di, dj) < 0.13, second]


def nodule(
    rng: np.random.Generator, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """The same for a nodule in lung, each ``(i, j, k)``, in HU."""
    grids = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    background = -830 + 60 * tissue(rng, shape, 1.2)
    background[grids[0] + 0.3 * grids[1] > 0.8] = 20
    vessel = np.hypot(grids[0] + 0.5 + 0.2 * grids[2], grids[1] - 0.45) < 0.09
    background[vessel] = 40
    radius = np.sqrt(sum((g - c) ** 2 for g, c in zip(grids, (0.05, -0.1, 0.15), strict=True)))
    hazy = 780 / (1 + np.exp((radius - 0.3 - 0.05 * tissue(rng, shape, 1.5)) * 18))
    smooth = 850 / (1 + np.exp((radius - 0.22) * 45))
    ring = (radius > 0.2) & (radius < 0.4)
    return background, hazy, smooth, [ring & (grids[0] < 0.2), vessel & (grids[2] > 0)]


def explanation(dimension: int, size: int = 96) -> Explanation:
    rng = np.random.default_rng(7)
    if dimension == 2:
        planes = mammogram(rng, size)
        background, now, otherwise = (plane[..., None] for plane in planes[:3])
        masks = [mask[..., None] for mask in planes[3]]
        affine, dtype = np.diag([-0.7, -0.7, 1.0, 1.0]), np.dtype(np.float32)
    else:
        background, now, otherwise, masks = nodule(rng, (48, 44, 14))
        affine, dtype = oblique((0.7, 0.7, 2.5)), np.dtype(np.int16)
    shape = background.shape
    geometry = Geometry((shape[0], shape[1], shape[2]), affine)
    unit = 1.0 if dimension == 2 else 1000.0
    spill = 0.008 * unit * tissue(rng, shape, 1.0)

    def image(array: np.ndarray, kind: np.dtype = dtype) -> Image:
        return Image(array[None].astype(kind), geometry, "case-017", dimension)

    def rendered(share: float) -> Image:
        return image(background + (1 - share) * now + share * otherwise + share * spill)

    original, counterfactual = image(background + now), rendered(0.85)
    difference = counterfactual.array.astype(np.float32) - original.array.astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    for label, mask in enumerate(masks, start=1):
        labels[mask & (labels == 0)] = label
    effect = np.abs(difference[0]) / unit * 9 * (labels > 0) + 0.05 * tissue(rng, shape, 2.0)
    minimal = np.where(labels[None] == 1, counterfactual.array, original.array)
    floor = 0.02 * unit

    def found(probabilities: Probabilities, array: np.ndarray, valid: bool = True) -> Counterfactual:
        change = np.abs(array.astype(np.float64) - original.array)
        return Counterfactual(valid, probabilities, float((change > floor).mean()), float(change.mean() / unit))

    def of(malignant: float) -> Probabilities:
        return {"benign": 1 - malignant, "malignant": malignant}

    def region(label: int, effect: float, **flags: Any) -> Region:
        voxels = np.argwhere(labels == label)
        r, a, s = (float(x) for x in geometry.to_ras(voxels.mean(axis=0)))
        size = {"volume_mm3": len(voxels) * geometry.voxel_volume}
        if dimension == 2:
            size["area_mm2"] = len(voxels) * geometry.pixel_area
        return Region(label, (r, a, s), effect=effect, **size, **flags)

    path = tuple(rendered(min(strength / 2.2, 1.2)) for strength in STRENGTHS)
    alternatives = (rendered(0.7), rendered(1.15))
    return Explanation(
        id="case-017.malignant-benign",
        image_id="case-017",
        image_sha256=original.sha256,
        classifier=ModelRef("phantom mammogram classifier", "3f" * 32),
        agent=ModelRef("phantom mammogram agent", "a1" * 32),
        created="2026-11-22T09:14:03+00:00",
        seconds=3.41,
        queries=487,
        prediction=Prediction("malignant", of(MALIGNANT[0])),
        target="benign",
        counterfactual=found(of(0.157), counterfactual.array),
        reconstruction_l1=0.0134,
        minimal=found(of(0.412), minimal),
        path=tuple(PathPoint(s, of(p)) for s, p in zip(STRENGTHS, MALIGNANT, strict=True)),
        alternatives=(found(of(0.302), alternatives[0].array), found(of(0.0312), alternatives[1].array)),
        regions=(
            region(
                1, 2.934, sufficient=True, necessary=True, above_floor=True,
                concept={"name": "mass with spiculated margin", "code": "RID5713", "confidence": 0.8},
            ),
            region(2, 0.316, sufficient=False, necessary=False, above_floor=False),
        ),
        notes=("Probabilities are the classifier's own and are not calibrated.",),
        volumes=Volumes(
            original=original,
            counterfactual=counterfactual,
            difference=image(difference[0], np.dtype(np.float32)),
            effect=image(effect, np.dtype(np.float32)),
            floor=image(np.full(shape, floor), np.dtype(np.float32)),
            regions=image(labels, np.dtype(np.uint8)),
            minimal=image(minimal[0]),
            path=path,
            alternatives=alternatives,
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def explain() -> Callable[..., Explanation]:
    """Make an explanation; keyword arguments replace its fields."""
    made: dict[tuple[int, int], Explanation] = {}

    def make(dimension: int = 2, size: int = 96, **changes: Any) -> Explanation:
        if (dimension, size) not in made:
            made[dimension, size] = explanation(dimension, size)
        return replace(made[dimension, size], **changes)

    return make
