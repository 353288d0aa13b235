"""Images of a benchmark of values: what value is asked for, and what is true about its causes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from otherwise.blackbox.output_kind import OutputKind, output_kind
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import show
from otherwise.datasets.hc18 import heads
from otherwise.evaluation.benchmark.cases import on_grid
from otherwise.evaluation.benchmark.values.ellipse import head_circumference
from otherwise.images.image import Image
from otherwise.phantoms.hazard import WEIGHTS
from otherwise.phantoms.prognosis import PrognosisSettings, prognoses

RISKS = (10.0, 60.0)
"""Targets of phantoms in percent: the lower one for those above the model's reference, the higher for the others."""
STEP = 20.0
"""Change of the head circumference that is asked for, towards the model's reference (mm)."""
SKULL = 4.0
"""Half of the width of the band along the outline of a head that counts as its skull (mm)."""


@dataclass(frozen=True, eq=False)
class ValueCase:
    """One image and a question about it.

    Attributes:
        image: In its own units and geometry.
        target: Value that is asked for.
        truth: bool ``size`` on the classifier's grid: where the image should change.
        places: Of features with a known effect: bool ``size`` by name; apart from each other.
        effects: What each feature's change towards the target does to the value, by name.
        counterfactual: The true counterfactual: of the target value, on the same grid; None: it is not known.
        measured: Measures the value of an image of the same geometry by another method; None: there is none.
        patient: Whose image it is; empty: the image's ID.
    """

    image: Image
    target: float
    truth: np.ndarray
    places: Mapping[str, np.ndarray] = field(default_factory=dict)
    effects: Mapping[str, float] = field(default_factory=dict)
    counterfactual: Image | None = None
    measured: Callable[[Image], float | None] | None = None
    patient: str = ""


def value_of(classifier: BlackBox, image: Image) -> float:
    """Return what a model says of an image, in its unit."""
    return float(output_kind(classifier).value_of(classifier.predict(show(image, classifier.inputs)[None]))[0])


def prognosis_cases(classifier: BlackBox, count: int, seed: int) -> Iterator[ValueCase]:
    """Yield phantoms of prognosis whose risk shall become another one; see ``RISKS``."""
    kind, inputs = output_kind(classifier), classifier.inputs
    for number in range(count):
        (first,) = prognoses(seed, 1, PrognosisSettings(), number)
        target = RISKS[0] if value_of(classifier, first.image) > kind.reference else RISKS[1]
        (phantom,) = prognoses(seed, 1, PrognosisSettings(target_risk=target / 100), number)
        assert phantom.outcome is not None
        places = {name: on_grid(phantom.masks[f"place-{name}"], phantom.image, inputs) for name in WEIGHTS}
        yield ValueCase(
            phantom.image,
            target,
            on_grid(phantom.masks["change"], phantom.image, inputs),
            places,
            {name: 100 * effect for name, effect in phantom.outcome.effects().items()},
            phantom.counterfactual,
        )


def hc18_cases(folder: Path, classifier: BlackBox, count: int) -> Iterator[ValueCase]:
    """Yield fetal heads of the test split whose circumference shall be ``STEP`` nearer to the model's reference."""
    kind = output_kind(classifier)
    for number, head in enumerate(heads(folder, "test")):
        if number == count:
            return
        target = _towards(kind, value_of(classifier, head.image))

        def measured(image: Image, mask: np.ndarray = head.mask) -> float | None:
            return head_circumference(image, mask)

        band = _along_outline(head.mask, head.image.geometry.spacing[0])
        truth = on_grid(band, head.image, classifier.inputs)
        yield ValueCase(head.image, target, truth, measured=measured, patient=head.subject)


def _towards(kind: OutputKind, value: float) -> float:
    return value + STEP if value < kind.reference else value - STEP


def _along_outline(mask: np.ndarray, spacing: float) -> np.ndarray:
    """Return the band about the outline of a mask ``(i, j, 1)``."""
    from scipy import ndimage

    inside, outside = (ndimage.distance_transform_edt(part[..., 0]) for part in (mask, ~mask))
    return np.asarray((inside + outside)[..., None] * spacing <= SKULL)
