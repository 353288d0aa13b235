"""The numbers of an explanation as tables and a chart of the scene."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from . import colours

REGION_COLUMNS = ("rank", "name", "effect", "mm3", "sufficient", "necessary", "evidence", "R", "A", "S")
PIXEL_COLUMNS = ("rank", "name", "effect", "pixels", "sufficient", "necessary", "evidence", "column", "row")
"""Of an image that does not say how large its pixels are: nothing is known in millimetres."""

EDGE, LEGEND = 0.03, 0.25
"""Room beside the path in the chart, as shares of its length: for half a mark, and for the legend at the right."""
SAME = 2
"""Rows that mark one place: VTK reports an error each time it draws a series of a single point."""


def region_table(scene: Any, content: dict) -> Any:
    """Make a table of the decisive regions; its columns are ``REGION_COLUMNS`` or ``PIXEL_COLUMNS``."""
    measured = content.get("geometry", {}).get("unit", "mm") == "mm"
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Decisive regions")
    rows = []
    for rank, region in enumerate(content["regions"], start=1):
        name = (region.get("concept") or {}).get("name") or f"region {region['label']}"
        flags = [bool(region[key]) for key in ("sufficient", "necessary", "above_floor")]
        size, place = (
            (region["volume_mm3"], region["centroid_ras"])
            if measured
            else (region["voxels"], region["centroid_index"][:2])
        )
        rows.append((rank, name, region["effect"], size, *flags, *place))
    kinds = {"rank": vtk.vtkIntArray, "name": vtk.vtkStringArray}
    kinds.update({name: vtk.vtkBitArray for name in ("sufficient", "necessary", "evidence")})
    for place, name in enumerate(REGION_COLUMNS if measured else PIXEL_COLUMNS):
        column = kinds.get(name, vtk.vtkDoubleArray)()
        column.SetName(name)
        for row in rows:
            column.InsertNextValue(row[place])
        table.AddColumn(column)
    return table


def path_chart(scene: Any, content: dict) -> tuple:
    """Make a table of the probabilities along the path, its chart, and a table of the present step."""
    path, classes = content["counterfactual"]["path"], list(content["prediction"]["probabilities"])
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probabilities along the path")
    for name, values in [("strength", [point["strength"] for point in path])] + [
        (name, [point["probabilities"][name] for point in path]) for name in classes
    ]:
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Probability along the path")
    chart.SetTitle("What the classifier says along the path")
    chart.SetXAxisTitle("Strength of the change")
    chart.SetYAxisTitle("Probability")
    strengths = [point["strength"] for point in path]
    wide = max(strengths) - min(strengths) or 1.0
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(min(strengths) - EDGE * wide, max(strengths) + LEGEND * wide)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(-EDGE, 1.0 + EDGE)
    for number, name in enumerate(classes):
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("strength")
        series.SetYColumnName(name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.SetColor(*colours.SERIES[number % len(colours.SERIES)])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    here = scene.AddNewNodeByClass("vtkMRMLTableNode", "Place on the path")
    for name in ("strength", content["target"]):
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        column.SetNumberOfValues(SAME)
        here.AddColumn(column)
    mark_place(here, content, 0)
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "shown")
    series.SetAndObserveTableNodeID(here.GetID())
    series.SetXColumnName("strength")
    series.SetYColumnName(content["target"])
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleDiamond)
    series.SetMarkerSize(14)
    series.SetColor(*colours.HERE)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return table, chart, here


def mark_place(here: Any, content: dict, step: int) -> None:
    """Move the mark in the chart to a step of the path."""
    point = content["counterfactual"]["path"][step]
    table = here.GetTable()
    for row in range(SAME):
        table.SetValueByName(row, "strength", vtk.vtkVariant(float(point["strength"])))
        table.SetValueByName(row, content["target"], vtk.vtkVariant(float(point["probabilities"][content["target"]])))
    table.Modified()
    here.Modified()


def probability_table(scene: Any, content: dict) -> Any:
    """Make a table of each class's probability before and after."""
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probabilities")
    before = content["prediction"]["probabilities"]
    after = content["counterfactual"]["probabilities"]
    names = vtk.vtkStringArray()
    names.SetName("class")
    columns = [("original", before), ("counterfactual", after)]
    for name in before:
        names.InsertNextValue(name)
    table.AddColumn(names)
    for title, values in columns:
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for name in before:
            column.InsertNextValue(values[name])
        table.AddColumn(column)
    return table
