"""The pictures of a benchmark say what the black box says of each image, and what the colours mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.gallery import draw_gallery
from support.square_models import SquareClassifier


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 6)])
def test_each_picture_has_its_class_or_its_colour_bar(tmp_path: Path, size: tuple[int, ...]) -> None:
    centre = np.zeros(size, bool)
    centre[tuple(slice(edge // 4, edge - edge // 4) for edge in size)] = True
    image = np.full((1, *size), 0.3, np.float32)
    made, true = (image + step * centre for step in (0.25, 0.4))
    for folder, array in (("edits", made), ("effects", 2.0 * centre)):
        (tmp_path / folder / "ours").mkdir(parents=True)
        np.save(tmp_path / folder / "ours" / "a.npy", array.astype(np.float32))
    case = Case("a", image, centre, "dark", true.astype(np.float32))
    figure = draw_gallery([case], ["a"], SquareClassifier(InputSpec(size)), tmp_path, "ours")
    original, counterfactual, change, effect, truth = figure.axes[:5]
    assert [axes.get_xlabel() for axes in (original, counterfactual, truth)] == [
        "dark 0.98",
        "bright 0.73",
        "bright 0.98",
    ]
    for axes, strongest in ((change, "0.25"), (effect, "2")):
        (bar,) = axes.child_axes
        assert [label.get_text() for label in bar.get_xticklabels()] == [f"−{strongest}", "0", f"+{strongest}"]
