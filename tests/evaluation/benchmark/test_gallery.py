"""The pictures of a benchmark say what the black box says of each image, and what the colours mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.gallery import draw_gallery
from support.square_models import SquareClassifier


def drawn(folder: Path, truth: np.ndarray, made: np.ndarray, true: np.ndarray) -> Figure:
    """Draw one case whose decisive feature is ``truth``."""
    for name, array in (("edits", made), ("effects", 2.0 * truth)):
        (folder / name / "ours").mkdir(parents=True)
        np.save(folder / name / "ours" / "a.npy", array.astype(np.float32))
    image = np.full((1, *truth.shape), 0.3, np.float32)
    case = Case("a", image, truth, "dark", true.astype(np.float32))
    return draw_gallery([case], ["a"], SquareClassifier(InputSpec(truth.shape)), folder, "ours")


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 6)])
def test_each_picture_has_its_class_or_its_colour_bar(tmp_path: Path, size: tuple[int, ...]) -> None:
    centre = np.zeros(size, bool)
    centre[tuple(slice(edge // 4, edge - edge // 4) for edge in size)] = True
    made, true = ((0.3 + step * centre)[None] for step in (0.25, 0.4))
    figure = drawn(tmp_path, centre, made, true)
    original, counterfactual, change, effect, truth = figure.axes[:5]
    assert [axes.get_xlabel() for axes in (original, counterfactual, truth)] == [
        "dark 0.98",
        "bright 0.73",
        "bright 0.98",
    ]
    for axes, strongest in ((change, "0.25"), (effect, "2")):
        (bar,) = axes.child_axes
        assert [label.get_text() for label in bar.get_xticklabels()] == [f"−{strongest}", "0", f"+{strongest}"]


@pytest.mark.parametrize(("width", "least"), [(2, 1.5), (4, 0.0), (12, 0.0)])
def test_the_outline_of_thin_strokes_does_not_cover_them(tmp_path: Path, width: int, least: float) -> None:
    stroke = np.zeros((32, 32), bool)
    stroke[8:24, 10 : 10 + width] = True
    _, _, change, effect, _ = drawn(tmp_path, stroke, (0.3 + 0.2 * stroke)[None], (0.3 + 0.4 * stroke)[None]).axes[:5]
    for axes in (change, effect):
        (outline,) = axes.collections
        corners = np.concatenate([path.vertices for path in outline.get_paths()])
        inside = np.argwhere(stroke)
        distances = np.linalg.norm(corners[:, None] - inside, axis=-1).min(axis=1)
        assert distances.min() >= least
        assert distances.max() <= least + 2.5
