"""The numbers of an explanation as tables of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

REGION_COLUMNS = ("rank", "name", "effect", "mm3", "sufficient", "necessary", "evidence", "R", "A", "S")
AREA_COLUMNS = tuple("mm2" if name == "mm3" else name for name in REGION_COLUMNS)
"""Of a plane, whose regions have an area."""
PIXEL_COLUMNS = ("rank", "name", "effect", "pixels", "sufficient", "necessary", "evidence", "column", "row")
"""Of an image that does not say how large its pixels are: nothing is known in millimetres."""


def size_key(regions: Sequence[dict]) -> str:
    """Return the field that shows the size of an explanation's regions: in a plane area, else volume or pixels."""
    known = (key for key in ("area_mm2", "volume_mm3") if all(region.get(key) is not None for region in regions))
    return next(known, "voxels")


def region_table(scene: Any, content: dict) -> Any:
    """Make a table of the decisive regions; its columns are ``REGION_COLUMNS``, or those of a plane or of pixels."""
    measure = size_key(content["regions"])
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Decisive regions")
    rows = []
    for rank, region in enumerate(content["regions"], start=1):
        name = (region.get("concept") or {}).get("name") or f"region {region['label']}"
        flags = [bool(region[key]) for key in ("sufficient", "necessary", "above_floor")]
        place = region["centroid_index"][:2] if measure == "voxels" else region["centroid_ras"]
        rows.append((rank, name, region["effect"], region[measure], *flags, *place))
    columns = {"volume_mm3": REGION_COLUMNS, "area_mm2": AREA_COLUMNS, "voxels": PIXEL_COLUMNS}
    kinds = {"rank": vtk.vtkIntArray, "name": vtk.vtkStringArray}
    kinds.update({name: vtk.vtkBitArray for name in ("sufficient", "necessary", "evidence")})
    for place, name in enumerate(columns[measure]):
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
