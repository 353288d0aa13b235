"""The numbers of an explanation as tables of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

REGION_COLUMNS = ("rank", "name", "effect", "mm3", "sufficient", "necessary", "evidence", "R", "A", "S")
PIXEL_COLUMNS = ("rank", "name", "effect", "pixels", "sufficient", "necessary", "evidence", "column", "row")
"""Of an image that does not say how large its pixels are: nothing is known in millimetres."""


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


def answer_table(scene: Any, content: dict) -> Any:
    """Make a table of the answer before and after: of each class's probability or, of a value model, of the value."""
    value = content.get("value")
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Value" if value else "Probabilities")
    if value:
        name = value["name"] if value["unit"] == "1" else f"{value['name']} ({value['unit']})"
        heading, before, after = "value", {name: value["original"]}, {name: value["counterfactual"]}
    else:
        heading, before = "class", content["prediction"]["probabilities"]
        after = content["counterfactual"]["probabilities"]
    names = vtk.vtkStringArray()
    names.SetName(heading)
    for name in before:
        names.InsertNextValue(name)
    table.AddColumn(names)
    for title, numbers in (("original", before), ("counterfactual", after)):
        table.AddColumn(column(title, [numbers[name] for name in before]))
    return table


def column(name: str, numbers: Sequence[float]) -> Any:
    """Make a column of numbers."""
    made = vtk.vtkDoubleArray()
    made.SetName(name)
    for number in numbers:
        made.InsertNextValue(number)
    return made
