"""How far noise, blur and contrast move a value, told in its unit beside the tolerance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.robustness import DISTURBANCES
from otherwise.blackbox.value_robustness import measure_value_robustness


def model(kind: OutputKind, slope: float) -> Callable[[np.ndarray], np.ndarray]:
    def predict(images: np.ndarray) -> np.ndarray:
        axes = tuple(range(1, images.ndim))
        return kind.answer(50 + slope * np.abs(np.diff(images, axis=2)).mean(axis=axes))

    return predict


@pytest.mark.parametrize("size", [(24, 20), (12, 14, 10)])
@pytest.mark.parametrize(("unit", "text"), [("months", "months"), ("%", "percentage points")])
def test_moves_are_told_in_the_unit_beside_the_tolerance(size: tuple[int, ...], unit: str, text: str) -> None:
    kind = OutputKind("value", unit=unit, range=(0, 100), spread=10, tolerance=1, name="score")
    images = np.full((9, 1, *size), 0.5, np.float32)
    noisy, calm, still = (measure_value_robustness(model(kind, slope), images, kind) for slope in (100, 15, 1))
    assert noisy.goes_by_grain
    assert not calm.goes_by_grain
    assert noisy.worst_grain.median == pytest.approx(100 * 0.1 * 2 / np.sqrt(np.pi), rel=0.1)
    assert noisy.worst_grain.towards > 0
    assert "white noise of 10 % of the range moves the score by 11" in noisy.sentence
    assert "by more than the tolerance" in calm.sentence
    assert "by no more than the tolerance" in still.sentence
    for found in (noisy, calm, still):
        assert f"the tolerance is 1 {text}." in found.sentence
        assert not any(side in found.sentence + found.table for side in kind.classes)
        assert len(found.moves) == len(DISTURBANCES)
    assert noisy.table.startswith("white noise 0.05: ")
    assert "blur 0.5: 0, 1: 0" in noisy.table
