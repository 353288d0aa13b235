"""The results of a batch as one Parquet table with a row for each image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from otherwise.batch.errors import Failure
from otherwise.blackbox.output_kind import with_unit
from otherwise.images.atomic import atomic_path
from otherwise.report.folder import JSON_NAME

SCHEMA = "otherwise.batch/1"
EXPLAINED = "explained"
FAILED = "failed"

Row = dict[str, Any]


VALUES = ("value", "value_after", "value_low", "value_high")
"""Columns of values: before, after, and the ends of the target, in ``unit``; empty on the target's open side."""


def table_schema(classes: Sequence[str], values: bool = False) -> pyarrow.Schema:
    """Return the columns of the table; those from ``sha256`` on are empty for an image that failed.

    ``image`` is where the image is in the archive, ``duplicates`` where the same content lies too, ``sha256`` of the
    voxels and their grid as in ``explanation.json``, ``probability_after`` that of the target for the counterfactual,
    ``changed_fraction`` and ``l1`` its distance, ``effect`` (log-odds towards the target) and ``centroid_ras``
    (millimetres) those of the strongest region, ``folder`` the explanation's, relative to the table.

    Of a model that says a value (``values``) the columns ``VALUES`` and ``unit`` follow; ``label`` and ``target`` are
    then texts with the unit, ``effect`` is in the unit, and there are no probabilities.
    """
    text, number = pyarrow.string(), pyarrow.float64()
    return pyarrow.schema(
        [
            pyarrow.field("image", text, nullable=False),
            pyarrow.field("duplicates", pyarrow.list_(text), nullable=False),
            pyarrow.field("status", text, nullable=False),
            *((name, text) for name in ("error", "detail", "hint", "sha256", "label")),
            ("probabilities", pyarrow.struct([(name, number) for name in classes])),
            ("target", text),
            ("valid", pyarrow.bool_()),
            *((name, number) for name in ("probability_after", "changed_fraction", "l1")),
            ("regions", pyarrow.int32()),
            ("effect", number),
            ("centroid_ras", pyarrow.list_(number)),
            ("seconds", number),
            ("queries", pyarrow.int64()),
            *((name, text) for name in ("classifier", "classifier_version", "agent", "agent_version", "folder")),
            *((name, number) for name in VALUES if values),
            *([("unit", text)] if values else []),
        ],
        metadata={"schema": SCHEMA},
    )


def explained_row(folder: Path) -> Row | None:
    """Return the row of an explanation, without its image's names and ``folder``.

    Returns:
        None where there is no explanation, or a damaged one.
    """
    try:
        content: Mapping[str, Any] = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
        found, strongest = content["counterfactual"], next(iter(content["regions"]), None)
        return {
            "status": EXPLAINED,
            "sha256": content["image"]["sha256"],
            "label": content["prediction"]["label"],
            "probabilities": content["prediction"]["probabilities"],
            "target": content["target"],
            "valid": found["valid"],
            "probability_after": found["probabilities"][content["target"]],
            "changed_fraction": found["changed_fraction"],
            "l1": found["l1"],
            "regions": len(content["regions"]),
            "effect": strongest and strongest["effect"],
            "centroid_ras": strongest and strongest["centroid_ras"],
            "seconds": content["seconds"],
            "queries": content["queries"],
            "classifier": content["classifier"]["name"],
            "classifier_version": content["classifier"]["version"],
            "agent": content["agent"]["name"],
            "agent_version": content["agent"]["version"],
            **_value_columns(content.get("value")),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _value_columns(value: Mapping[str, Any] | None) -> Row:
    """Return the columns of a value, and what they say instead of classes; of classes nothing."""
    if value is None:
        return {}
    return {
        "label": with_unit(value["original"], value["unit"]),
        "target": value["target"]["text"],
        "probabilities": None,
        "probability_after": None,
        "value": value["original"],
        "value_after": value["counterfactual"],
        "value_low": value["target"]["low"],
        "value_high": value["target"]["high"],
        "unit": value["unit"],
    }


def failed_row(failure: Failure) -> Row:
    """Return the row of an image without an explanation."""
    return {"status": FAILED, "error": failure.error, "detail": failure.detail, "hint": failure.hint}


def write_table(rows: Iterable[Row], classes: Sequence[str], path: Path) -> Path:
    """Write the table; it appears whole, and an older one is replaced.

    Returns:
        ``path``.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
    """
    listed = list(rows)
    values = any("value" in row for row in listed)
    table = pyarrow.Table.from_pylist(listed, schema=table_schema(classes, values))
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")
    return path
