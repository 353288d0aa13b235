"""An explanation of a value says in its unit what grain does to it, and what undoes its counterfactual."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.question import QuestionBox, ask
from otherwise.explain.value_fragility import value_warnings

MONTHS = OutputKind("value", unit="months", range=(0, 200), reference=100, spread=20, tolerance=3, name="bone age")
PERCENT = OutputKind("survival", times=(0, 365, 730), horizon=730, reading="hazards", spread=15, tolerance=3)


class RoughValue:
    """Says a value that rises with the mean difference of neighbours along the first axis."""

    name, version, multi_label = "rough", "1", False

    def __init__(self, kind: OutputKind, size: tuple[int, ...], slope: float) -> None:
        self.answer, self.slope, self.inputs = kind, slope, InputSpec(size)
        self.classes: tuple[str, ...] = kind.classes

    def predict(self, images: np.ndarray) -> np.ndarray:
        rough = np.abs(np.diff(images, axis=2)).mean(axis=tuple(range(1, images.ndim)))
        return self.answer.answer(40 + self.slope * rough + 20 * images.mean(axis=tuple(range(1, images.ndim))))


def asked(kind: OutputKind, image: np.ndarray, changed: np.ndarray | None, slope: float, target: str) -> tuple:
    model = RoughValue(kind, image.shape[1:], slope)
    original = float(kind.value_of(model.predict(image[None]))[0])
    question = ask(kind, original, target)
    box = QuestionBox(model, kind.value_of, question)
    reached = original if changed is None else float(kind.value_of(model.predict(changed[None]))[0])
    return value_warnings(box, question, image, original, changed, reached), original, reached


def flat(size: tuple[int, ...]) -> np.ndarray:
    return np.full((1, *size), 0.5, np.float32)


@pytest.mark.parametrize("size", [(32, 24), (16, 14, 10)])
@pytest.mark.parametrize(("kind", "unit"), [(MONTHS, "months"), (PERCENT, "percentage points")])
@pytest.mark.parametrize(("slope", "level"), [(500, "2 %"), (180, "5 %"), (90, "10 %"), (10, None)])
def test_the_faintest_noise_that_takes_half_of_the_way_is_told_in_the_unit(
    kind: OutputKind, unit: str, size: tuple[int, ...], slope: float, level: str | None
) -> None:
    warnings, original, _ = asked(kind, flat(size), None, slope, "+16")
    assert original == pytest.approx(50, abs=0.1)
    if level is None:
        assert warnings == ()
        return
    (warning,) = warnings
    assert warning.code == "moved-by-grain"
    assert f"noise of {level} of the range moves the {kind.name} by" in warning.text
    assert f"{unit}, to" in warning.text
    assert f"the tolerance is 3 {unit}." in warning.text
    assert not any(side in warning.text for side in kind.classes)


def test_a_change_of_grain_is_an_artefact_and_a_change_of_the_image_is_not() -> None:
    size = (32, 24)
    grain = flat(size) + 0.05 * np.random.default_rng(0).standard_normal((1, *size)).astype(np.float32)
    (*_, warning), original, reached = asked(MONTHS, flat(size), grain, 180, "+6")
    assert warning.code == "artefact"
    assert "blur of 0.5 pixel undoes" in warning.text
    assert f"of its {reached - original:.3g} months".replace(".0 ", " ") in warning.text
    lighter, _, _ = asked(MONTHS, flat(size), flat(size) + 0.4, 10, "+6")
    assert lighter == ()
