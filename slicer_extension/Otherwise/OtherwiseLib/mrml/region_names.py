"""Update the names of an explanation's regions in the scene."""

from __future__ import annotations

import json
from typing import Any

from .explanations import ShownExplanation


def names_in(content: dict) -> dict:
    """Return the concept of each region of an explanation, by label; None for a region without a name."""
    return {region["label"]: region.get("concept") for region in content["regions"]}


def rename(shown: ShownExplanation, content: dict, page: str = "") -> None:
    """Write new names into an explanation's text, its table and its segments.

    Args:
        shown: The explanation; its ``content`` changes as well.
        content: ``explanation.json`` of the same explanation, with the new names.
        page: The report with the new names; empty: the report stays as it is.
    """
    names = names_in(content)
    for region in shown.content["regions"]:
        region["concept"] = names.get(region["label"], region.get("concept"))
    shown.content["concepts"] = content.get("concepts")
    shown.node.SetText(json.dumps(shown.content))
    report = shown.get("report")
    if report is not None and page:
        report.SetText(page)
    _rename_rows(shown.get("region-table"), shown.regions)
    _rename_segments(shown.get("regions"), shown.regions)


def _rename_rows(table: Any, regions: list) -> None:
    column = table.GetTable().GetColumnByName("name") if table is not None else None
    if column is None or column.GetNumberOfValues() != len(regions):
        return
    for row, region in enumerate(regions):
        column.SetValue(row, _name(region) or f"region {region['label']}")
    table.GetTable().Modified()
    table.Modified()


def _rename_segments(node: Any, regions: list) -> None:
    if node is None:
        return
    segmentation = node.GetSegmentation()
    titles = {f"region {region['label']}": _name(region) for region in regions}
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        # The number stays, since reports refer to it.
        first = segment.GetName().split(":")[0]
        if first in titles:
            segment.SetName(f"{first}: {titles[first]}" if titles[first] else first)


def _name(region: dict) -> str:
    return str((region.get("concept") or {}).get("name") or "")
