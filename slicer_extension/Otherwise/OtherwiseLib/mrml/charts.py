"""Charts of an explanation: the answer along the path, and survival before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import slicer
import vtk

from . import colours
from .tables import column

EDGE, LEGEND = 0.03, 0.25
"""Room beside the path in the chart, as shares of its length: for half a mark, and for the legend at the right."""
SAME = 2
"""Rows that mark one place: VTK reports an error each time it draws a series of a single point."""
STROKES = 200
"""Vertical strokes that shade what counts as reached, so dense that they touch: a chart of MRML fills no area."""
SHADE = 0.2
"""Opacity of the shading."""
STRENGTH = "strength"
"""Name of the column of the path's strengths."""
VALUE = "value"
"""Name of the column of the path's values."""


class PathChart(NamedTuple):
    """Nodes of the chart of a path.

    Attributes:
        table: The answer at each step.
        chart: The chart.
        here: Table of the step that is shown.
        target: Table of the shading of what counts as reached; None for classes.
    """

    table: Any
    chart: Any
    here: Any
    target: Any


def path_chart(scene: Any, content: dict) -> PathChart:
    """Make the chart of the answer along the path: each class's probability or, of a value model, the value."""
    path, value = content["counterfactual"]["path"], content.get("value")
    strengths = [point["strength"] for point in path]
    lines = _lines(content)
    table = _table(scene, "Value along the path" if value else "Probabilities along the path")
    for name, numbers in {STRENGTH: strengths, **lines}.items():
        table.AddColumn(column(name, numbers))
    chart = scene.AddNewNodeByClass(
        "vtkMRMLPlotChartNode", "Value along the path" if value else "Probability along the path"
    )
    chart.SetTitle("What the model says along the path" if value else "What the classifier says along the path")
    chart.SetXAxisTitle("Strength of the change")
    chart.SetYAxisTitle(_axis(value) if value else "Probability")
    wide = max(strengths) - min(strengths) or 1.0
    ends = min(strengths) - EDGE * wide, max(strengths) + LEGEND * wide
    low, high = _value_range(value, next(iter(lines.values()))) if value else (-EDGE, 1.0 + EDGE)
    _set_ranges(chart, ends, (low, high))
    shade = None
    if value:
        shade = _shade(scene, value["target"], (min(strengths), max(strengths)), (low, high))
        series = _series(scene, chart, shade, value["target"]["text"], "reached", colours.TARGET)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetOpacity(SHADE)
    for number, name in enumerate(lines):
        title = value["name"] if value else name
        _series(scene, chart, table, title, name, colours.SERIES[number % len(colours.SERIES)])
    here = _table(scene, "Place on the path")
    name = _marked(content)
    for title in (STRENGTH, name):
        here.AddColumn(column(title, [0.0] * SAME))
    mark_place(here, content, 0)
    series = _series(scene, chart, here, "shown", name, colours.HERE)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleDiamond)
    series.SetMarkerSize(14)
    return PathChart(table, chart, here, shade)


def mark_place(here: Any, content: dict, step: int) -> None:
    """Move the mark in the chart to a step of the path."""
    name, table = _marked(content), here.GetTable()
    for row in range(SAME):
        table.SetValueByName(row, STRENGTH, vtk.vtkVariant(float(content["counterfactual"]["path"][step]["strength"])))
        table.SetValueByName(row, name, vtk.vtkVariant(float(_lines(content)[name][step])))
    table.Modified()
    here.Modified()


def survival_chart(scene: Any, content: dict) -> tuple[Any, Any] | None:
    """Make a table and a chart of survival before and after; None where the model predicts no survival."""
    value = content.get("value") or {}
    curves = value.get("curves")
    if not curves:
        return None
    table = _table(scene, "Survival before and after")
    for name, numbers in (
        ("time", curves["times"]),
        ("original", curves["before"]),
        ("counterfactual", curves["after"]),
    ):
        table.AddColumn(column(name, numbers))
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Survival before and after")
    chart.SetTitle("Survival before and after")
    chart.SetXAxisTitle(f"Time ({curves['unit']})")
    chart.SetYAxisTitle("Probability of survival")
    last = max(curves["times"])
    _set_ranges(chart, (-EDGE * last, (1 + LEGEND) * last), (-EDGE, 1.0 + EDGE))
    for name, colour in (("original", colours.SERIES[0]), ("counterfactual", colours.TARGET)):
        series = _series(scene, chart, table, name, name, colour, x="time")
        if name == "original":
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    return table, chart


def _lines(content: dict) -> dict[str, list[float]]:
    """Return what the chart draws along the path, by name of its column."""
    path, value = content["counterfactual"]["path"], content.get("value")
    if value:
        return {VALUE: [point["value"] for point in path]}
    classes = content["prediction"]["probabilities"]
    return {name: [point["probabilities"][name] for point in path] for name in classes}


def _marked(content: dict) -> str:
    """Return the column of the line on which the shown step is marked."""
    return VALUE if content.get("value") else str(content["target"])


def _axis(value: dict) -> str:
    return str(value["name"] if value["unit"] == "1" else f"{value['name']} ({value['unit']})")


def _value_range(value: dict, numbers: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and highest value of the chart: of the path and of the target."""
    ends = [end for key in ("low", "high") if (end := value["target"][key]) is not None]
    every = [*numbers, *ends, value["target"]["cut"]]
    room = 0.08 * (max(every) - min(every) or 1.0)
    return min(every) - room, max(every) + room


def _shade(scene: Any, target: dict, across: tuple[float, float], ends: tuple[float, float]) -> Any:
    """Make a table of strokes over what counts as reached, cut off at the ends of the chart."""
    low = ends[0] if target["low"] is None else target["low"]
    high = ends[1] if target["high"] is None else target["high"]
    step = (across[1] - across[0] or 1.0) / STROKES
    xs = [across[0] + step * stroke for stroke in range(STROKES + 1) for _ in (0, 1)]
    ys = [y for stroke in range(STROKES + 1) for y in ((low, high) if stroke % 2 == 0 else (high, low))]
    table = _table(scene, "What counts as reached")
    table.AddColumn(column(STRENGTH, xs))
    table.AddColumn(column("reached", ys))
    return table


def _table(scene: Any, name: str) -> Any:
    return scene.AddNewNodeByClass("vtkMRMLTableNode", name)


def _set_ranges(chart: Any, across: tuple[float, float], up: tuple[float, float]) -> None:
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(*across)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(*up)


def _series(scene: Any, chart: Any, table: Any, title: str, y: str, colour: colours.Colour, x: str = STRENGTH) -> Any:
    """Add a line through a table's points to a chart."""
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(x)
    series.SetYColumnName(y)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
    series.SetColor(*colour)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series
