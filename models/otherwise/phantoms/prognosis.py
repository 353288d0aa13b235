"""Synthetic CT slices of a lung nodule whose features decide, by a known hazard, when an event happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.phantoms.ct import BONE, LUNG, SOFT_TISSUE, axial, blurred, hounsfield, quantum_noise
from otherwise.phantoms.ct_nodule import soft_inside
from otherwise.phantoms.hazard import draw_features, draw_outcome, risk_of
from otherwise.phantoms.phantom import Phantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import numbered_rng
from otherwise.phantoms.shapes import Stroke, draw_strokes, lobed_radius, pixel_places, power_law_noise, smooth_step

CLASSES = ("low risk", "high risk")
CUT = 0.3
"""Risk at the horizon from which a phantom is called one of high risk."""
TARGETS = {"low risk": 0.6, "high risk": 0.1}
"""Risk of the true counterfactual of each class, unless another one is asked for."""
RADIUS = (3.0, 7.0)
"""Of the smallest and the largest nodule (mm)."""
REACH = 2.1 * RADIUS[1]
"""How far from the nodule's centre spicules end at most (mm)."""
RETICULATION = 450.0
"""HU that the web of fibrosis adds to the lung."""


@dataclass(frozen=True)
class PrognosisSettings:
    """Settings of phantoms of prognosis.

    Attributes:
        size: Pixels along i and j.
        field_of_view: Length of the longer side in millimetres.
        target_risk: Risk of the true counterfactual; None: see ``TARGETS``.

    Raises:
        ImageError: if the image is too small to show a nodule, or the risk is no probability.
    """

    size: tuple[int, int] = (64, 64)
    field_of_view: float = 44.8
    target_risk: float | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 32 or 2 * min(self.size) < max(self.size):
            raise ImageError(f"A slice of size {self.size} is too small.", "Give at least 32,32 of a ratio up to 2.")
        if self.target_risk is not None and not 0 < self.target_risk < 1:
            raise ImageError(f"{self.target_risk:g} is no risk to aim at.", "Give a value between 0 and 1.")

    @property
    def spacing(self) -> float:
        """Return the distance of pixel centres in millimetres."""
        return self.field_of_view / max(self.size)


@dataclass(frozen=True, eq=False)
class _Anatomy:
    """All that is drawn apart from the features; the same for a phantom and its counterfactual.

    Attributes:
        distance: From the nodule's centre, ``(i, j)`` mm.
        angle: Direction from there in radians.
        centre: Of the nodule (mm).
        outline: Amplitudes and phases of its lobes, see ``shapes.lobed_radius``.
        directions: Angles of the spicules.
        lengths: Of the spicules relative to the longest.
        bends: Of the spicules (1/mm).
        web: The reticulation that fibrosis shows, in [0, 1].
        depth: Share of the lung on the fibrosis's side of each pixel, in [0, 1]: fibrosis grows from the pleura.
        surroundings: Lung with vessels, HU.
        noise: HU.
    """

    distance: np.ndarray
    angle: np.ndarray
    centre: tuple[float, float]
    outline: tuple[np.ndarray, np.ndarray]
    directions: np.ndarray
    lengths: np.ndarray
    bends: np.ndarray
    web: np.ndarray
    depth: np.ndarray
    surroundings: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A phantom with certain features: HU ``(i, j)``, and the share of each feature in each pixel, in [0, 1]."""

    voxels: np.ndarray
    body: np.ndarray
    spicules: np.ndarray
    calcification: np.ndarray
    fibrosis: np.ndarray
    edge: np.ndarray


def make_prognosis(rng: np.random.Generator, settings: PrognosisSettings, id: str = "prognosis") -> Phantom:
    """Draw one slice, its outcome, and its true counterfactual.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        id: Name of the image.

    Returns:
        A 2-D phantom in HU with an ``outcome``. Masks of what is there: ``nodule``, ``spicules``, ``calcification``,
        ``fibrosis``. Masks of the places that belong to one feature each, apart from each other:
        ``place-calcification`` (the nodule's core), ``place-size`` (its rim), ``place-spiculation`` (around it),
        ``place-fibrosis`` (the lung). ``change`` is where the true counterfactual differs by at least 40 HU.
    """
    features = draw_features(rng)
    risk = risk_of(features)
    label = CLASSES[int(risk >= CUT)]
    outcome = draw_outcome(rng, features, TARGETS[label] if settings.target_risk is None else settings.target_risk)
    anatomy = _draw_anatomy(rng, settings)
    now, then = (_draw(anatomy, each, settings) for each in (outcome.features, outcome.target_features))
    spacing = (settings.spacing, settings.spacing, 1.0)
    geometry = axial((*settings.size, 1), spacing)
    image = Image(hounsfield(now.voxels)[None, ..., None], geometry, id, dimension=2)
    outer = np.maximum(now.edge, then.edge) + 1
    inner = np.minimum(now.edge, then.edge) - 1
    core = anatomy.distance <= 0.5 * now.edge
    masks = {
        "nodule": now.body > 0.5,
        "spicules": now.spicules > 0.1,
        "calcification": now.calcification > 0.1,
        "fibrosis": now.fibrosis > 0.1,
        "place-calcification": core,
        "place-size": (anatomy.distance > inner) & (anatomy.distance <= outer) & ~core,
        "place-spiculation": (anatomy.distance > outer) & (anatomy.distance <= REACH),
        "place-fibrosis": anatomy.distance > REACH,
        "change": np.abs(now.voxels - then.voxels) >= 40,
    }
    masks["change"] |= anatomy.distance == anatomy.distance.min()  # never empty
    return Phantom(
        image=image,
        label=label,
        classes=CLASSES,
        attributes={**{name: round(value, 4) for name, value in features.items()}, "risk": round(risk, 4)},
        masks={name: mask[..., None] for name, mask in masks.items()},
        decisive="change",
        counterfactual=image.with_array(hounsfield(then.voxels)[None, ..., None], f"{id}-counterfactual"),
        outcome=outcome,
    )


def prognoses(seed: int, count: int, settings: PrognosisSettings, start: int = 0) -> Iterator[Phantom]:
    """Draw many; the n-th depends on ``seed`` and ``n`` alone, and on ``target_risk`` in its counterfactual alone.

    Args:
        seed: Names the whole endless series.
        count: How many to draw.
        settings: What to draw.
        start: Number of the first one.
    """
    for number in range(start, start + count):
        yield make_prognosis(numbered_rng(seed, number), settings, f"prognosis-{seed}-{number:05d}")


def series(options: SeriesOptions) -> Iterator[Phantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j = options.size
    settings = PrognosisSettings((i, j), target_risk=options.target_risk)
    return prognoses(options.seed, options.count, settings, options.start)


def _draw_anatomy(rng: np.random.Generator, settings: PrognosisSettings) -> _Anatomy:
    """Draw everything that the hazard does not depend on."""
    spacing, size = settings.spacing, settings.size
    x, y = pixel_places(size, spacing)
    middle = np.array(size) * spacing / 2
    centre = middle + rng.uniform(-2.5, 2.5, 2)
    right, down = x - centre[0], y - centre[1]
    needles = 15
    inwards = float(rng.uniform(0, 2 * np.pi))
    across = (x - middle[0]) * np.cos(inwards) + (y - middle[1]) * np.sin(inwards)
    ridges = power_law_noise(rng, size, (spacing, spacing), 6.0, 5.0)
    texture = rng.normal(0, 15) + 25 * power_law_noise(rng, size, (spacing, spacing), 3.0, 20.0)
    vessels = draw_strokes(_draw_vessels(rng, settings, centre), x, y)
    lung = LUNG + texture
    return _Anatomy(
        distance=np.hypot(right, down),
        angle=np.arctan2(down, right),
        centre=(float(centre[0]), float(centre[1])),
        outline=(rng.normal(0, 1, 4) * np.array([0.07, 0.05, 0.03, 0.02]), rng.uniform(0, 2 * np.pi, 4)),
        directions=2 * np.pi * (np.arange(needles) + rng.uniform(-0.4, 0.4, needles)) / needles + inwards,
        lengths=rng.uniform(0.5, 1.0, needles),
        bends=rng.normal(0, 0.012, needles),
        web=smooth_step(1.2 - np.abs(ridges) / 0.55),
        depth=(across - across.min()) / (across.max() - across.min()),
        surroundings=lung + vessels * (SOFT_TISSUE - lung),
        noise=quantum_noise(rng, (*size, 1))[..., 0],
    )


def _draw_vessels(rng: np.random.Generator, settings: PrognosisSettings, centre: np.ndarray) -> list[Stroke]:
    """Draw vessels that pass the nodule and say nothing about the hazard."""
    strokes = []
    for _ in range(int(rng.integers(1, 4))):
        angle = float(rng.uniform(0, 2 * np.pi))
        aside = float(rng.uniform(9, 18)) * np.array([-np.sin(angle), np.cos(angle)])
        start = centre + aside - settings.field_of_view * np.array([np.cos(angle), np.sin(angle)])
        strokes.append(
            Stroke(
                (float(start[0]), float(start[1])),
                angle,
                2 * settings.field_of_view,
                float(rng.normal(0, 0.004)),
                float(rng.uniform(0.5, 0.9)),
                float(rng.uniform(0.6, 0.9)),
                0.3,
            )
        )
    return strokes


def _draw(anatomy: _Anatomy, features: Mapping[str, float], settings: PrognosisSettings) -> _Drawn:
    """Draw the anatomy with features in [0, 1]; what is seen of each grows steadily with it."""
    low, high = RADIUS
    radius = low + (high - low) * features["size"]
    edge = lobed_radius(anatomy.angle, radius, *anatomy.outline)
    body = soft_inside(edge - anatomy.distance, 0.4)
    spicules = _draw_spicules(anatomy, radius, features["spiculation"], settings) * (1 - body)
    core = soft_inside(0.5 * edge - anatomy.distance, 0.4) * np.float32(features["calcification"])
    fibrosis = anatomy.web * smooth_step((features["fibrosis"] - anatomy.depth) / 0.12 + 0.5)
    fibrosis = fibrosis * smooth_step((anatomy.distance - REACH) / 2) * (features["fibrosis"] > 0)
    voxels = anatomy.surroundings + fibrosis * RETICULATION
    voxels = voxels + spicules * np.maximum(SOFT_TISSUE - voxels, 0)
    voxels = voxels + body * np.maximum(SOFT_TISSUE - voxels, 0) + core * (BONE + 100 - SOFT_TISSUE)
    spacing = (settings.spacing, settings.spacing, 1.0)
    seen = blurred(voxels[..., None], spacing)[..., 0] + anatomy.noise
    return _Drawn(seen, body, spicules, core, fibrosis, edge)


def _draw_spicules(anatomy: _Anatomy, radius: float, spiculation: float, settings: PrognosisSettings) -> np.ndarray:
    """Draw needles whose length and density grow with the spiculation; none at 0."""
    x, y = pixel_places(settings.size, settings.spacing)
    starts = 0.85 * lobed_radius(anatomy.directions, radius, *anatomy.outline)
    strokes = [
        Stroke(
            start=(
                float(anatomy.centre[0] + start * np.cos(direction)),
                float(anatomy.centre[1] + start * np.sin(direction)),
            ),
            angle=float(direction),
            length=float(length * (2.0 + (RADIUS[1] - 1.0) * spiculation)),
            bend=float(bend),
            width=0.55,
            strength=min(1.0, 1.3 * spiculation),
            fade=0.5,
        )
        for start, direction, length, bend in zip(
            starts, anatomy.directions, anatomy.lengths, anatomy.bends, strict=True
        )
    ]
    return draw_strokes(strokes, x, y)
