"""The charts of a value model: the value along the path in its unit, its target shaded, and survival."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")

from otherwise.blackbox.output_kind import OutputKind  # noqa: E402
from otherwise.images.image import Geometry  # noqa: E402
from otherwise.report.folder import write_explanation  # noqa: E402
from OtherwiseLib.mrml import charts, explanations, layouts  # noqa: E402
from OtherwiseLib.mrml.explanations import ShownExplanation  # noqa: E402
from support.saved_scene import read_scene, save_scene  # noqa: E402
from support.square_models import toy_explanation  # noqa: E402
from support.value_models import as_value  # noqa: E402

MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age")
RISK = OutputKind("survival", times=(0, 180, 365, 730), horizon=730, reading="hazards")


def show(scene: Any, folder: Path, kind: OutputKind, original: float, target: str, reached: float) -> ShownExplanation:
    made = as_value(toy_explanation(Geometry((12, 10, 1), np.eye(4))), kind, original, target, reached)
    return explanations.show(scene, write_explanation(made, folder / made.id))


def numbers(table: Any, name: str) -> list[float]:
    column = table.GetTable().GetColumnByName(name)
    assert column is not None, name
    return [column.GetValue(row) for row in range(column.GetNumberOfValues())]


def series_of(chart: Any) -> dict[str, Any]:
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
    return {name: chart.GetNthPlotSeriesNode(n) for n, name in enumerate(names)}


def test_the_value_is_drawn_along_the_path_in_its_unit(scene: Any, tmp_path: Path) -> None:
    shown = show(scene, tmp_path, MONTHS, 150.0, "-20", 131.0)
    chart = shown.get("chart")
    assert chart.GetYAxisTitle() == "bone age (months)"
    along = numbers(shown.get("path-table"), charts.VALUE)
    assert along == pytest.approx([point["value"] for point in shown.path])
    assert along[0] == pytest.approx(150)
    low, high = chart.GetYAxisRange()
    assert low < min(along)
    assert max(along) < high
    assert not any("at most" in name or "above" in name for name in series_of(chart)), "no sides of the reference"
    charts.mark_place(shown.get("here"), shown.content, 1)
    assert numbers(shown.get("here"), charts.VALUE) == pytest.approx([along[1]] * charts.SAME)
    (original,), (changed,) = numbers(shown.get("bars"), "original"), numbers(shown.get("bars"), "counterfactual")
    assert (original, changed) == (pytest.approx(150), pytest.approx(131))


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [("-20", 130 - 3.8, 130 + 3.8), ("<131", None, 131), (">=180", 180, None), ("=131", 127.2, 134.8)],
)
def test_what_counts_as_reached_is_shaded(
    scene: Any, tmp_path: Path, target: str, low: float | None, high: float | None
) -> None:
    shown = show(scene, tmp_path, MONTHS, 150.0, target, 182.0 if ">" in target else 130.5)
    shade, ends = numbers(shown.get("target"), "reached"), shown.get("chart").GetYAxisRange()
    assert min(shade) == pytest.approx(ends[0] if low is None else low)
    assert max(shade) == pytest.approx(ends[1] if high is None else high)
    strengths = [point["strength"] for point in shown.path]
    across = numbers(shown.get("target"), charts.STRENGTH)
    assert (min(across), max(across)) == pytest.approx((min(strengths), max(strengths)))
    assert series_of(shown.get("chart"))[shown.content["value"]["target"]["text"]].GetOpacity() < 0.5


def test_survival_is_drawn_before_and_after_beside_the_path(scene: Any, tmp_path: Path) -> None:
    layout = slicer.vtkMRMLLayoutNode()
    scene.AddNode(layout)
    for name in (layouts.PLOT, layouts.SURVIVAL):
        view = slicer.vtkMRMLPlotViewNode()
        view.SetSingletonTag(name)
        scene.AddNode(view)
    shown = show(scene, tmp_path, RISK, 40.0, "<20", 15.0)
    layouts.set_layout(scene, layouts.FOUR, survival=True)
    assert layouts.SURVIVAL in layout.GetLayoutDescription(layout.GetViewArrangement())
    assert layouts.SURVIVAL not in layout.GetLayoutDescription(layouts.FOUR)
    layouts.fill(scene, shown)
    chart = shown.get("survival")
    assert scene.GetSingletonNode(layouts.SURVIVAL, "vtkMRMLPlotViewNode").GetPlotChartNode() is chart
    table = shown.get("survival-table")
    assert numbers(table, "time") == [0, 180, 365, 730]
    assert numbers(table, "original")[-1] == pytest.approx(0.6)
    assert numbers(table, "counterfactual")[-1] == pytest.approx(0.85)
    assert set(series_of(chart)) == {"original", "counterfactual"}


def test_charts_are_found_again_in_a_saved_scene_and_removed_without_a_trace(scene: Any, tmp_path: Path) -> None:
    show(scene, tmp_path, RISK, 40.0, "<20", 15.0)
    path = save_scene(scene, tmp_path)
    read_scene(scene, path)
    (again,) = explanations.all_shown(scene)
    assert all(again.get(role) is not None for role in (*explanations.ROLES, *explanations.VALUE_ROLES))
    assert numbers(again.get("survival-table"), "counterfactual")[-1] == pytest.approx(0.85)
    explanations.remove(scene, again)
    for kind in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        assert scene.GetNumberOfNodesByClass(kind) == 0


def test_a_model_without_survival_has_no_chart_of_it(scene: Any, tmp_path: Path) -> None:
    assert show(scene, tmp_path, MONTHS, 150.0, "-20", 131.0).get("survival") is None
