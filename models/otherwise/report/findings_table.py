"""All findings of an archive as one table: which findings decide, and which decide where the model errs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from otherwise.blackbox.output_kind import with_unit
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path

UNNAMED = ""
"""Scheme, code and meaning of what has no name."""


class TruthError(OtherwiseError):
    """The truth of a value is not a number."""

    code = "truth"


@dataclass(frozen=True)
class FindingRow:
    """One finding of one image; a region with several findings counts for each of them.

    Attributes:
        image, explanation: Ids.
        answer: The class that the model answered; of a value: the value with its unit.
        probability: Of that answer, in [0, 1]; None of a value.
        target: The class that the explanation argues for; of a value: what was asked for, in words.
        truth: The class or value that the image really has, where that is known; else empty.
        wrong: Whether the model erred, of a value by more than the tolerance of the explanation; None where the truth
            is not known.
        scheme, code, meaning: The finding; empty for regions without a name.
        confidence: Greatest of the image's regions that show it, in [0, 1]; None where there is no name.
        evidence: How it is known: ``said``, ``finding`` or ``likeness``; empty where that was not recorded.
        regions: How many regions show it.
        effect: Sum of these regions' measured effects towards the target, in log-odds; of a value: in ``unit``.
        share: The same as a share of the effect of all regions that speak for the target, in [0, 1].
        value, value_after, unit: Value of the image and of its counterfactual; None and empty of classes.
    """

    image: str
    explanation: str
    answer: str
    probability: float | None
    target: str
    truth: str
    wrong: bool | None
    scheme: str
    code: str
    meaning: str
    confidence: float | None
    evidence: str
    regions: int
    effect: float
    share: float
    value: float | None = None
    value_after: float | None = None
    unit: str = ""


COLUMNS = tuple(item.name for item in fields(FindingRow))


def finding_rows(content: Mapping[str, Any], truth: Mapping[str, str] | None = None) -> list[FindingRow]:
    """Return the findings of one explanation, the strongest first.

    Args:
        content: Of its ``explanation.json``.
        truth: Class, or value as text, by image id, where it is known.

    Raises:
        TruthError: if the truth of a value is not a number.
    """
    image = str(content["image"]["id"])
    known = (truth or {}).get(image, "")
    said = _value_said(content["value"], image, known) if content.get("value") else _class_said(content, known)
    deciding = [region for region in content["regions"] if region["effect"] > 0]
    total = sum(region["effect"] for region in deciding) or 1.0
    shown: dict[tuple[str, str, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for region in deciding:
        concept = region.get("concept")
        for each in region.get("findings") or ([concept] if concept else [{}]):
            key = (str(each.get("scheme") or UNNAMED), str(each.get("code", UNNAMED)), str(each.get("name", UNNAMED)))
            shown.setdefault(key, []).append((region, each))
    rows = []
    for (scheme, code, meaning), members in shown.items():
        effect = sum(region["effect"] for region, _ in members)
        sure = [each["confidence"] for _, each in members if each.get("confidence") is not None]
        evidence = next((str(each["evidence"]) for _, each in members if each.get("evidence")), "")
        rows.append(
            FindingRow(
                image=image,
                explanation=str(content["id"]),
                truth=known,
                scheme=scheme,
                code=code,
                meaning=meaning,
                confidence=max(sure, default=None),
                evidence=evidence,
                regions=len(members),
                effect=round(effect, 4),
                share=round(effect / total, 4),
                **said,
            )
        )
    return sorted(rows, key=lambda row: -row.effect)


def _class_said(content: Mapping[str, Any], truth: str) -> dict[str, Any]:
    """Return the columns of what a model of classes said."""
    answer = str(content["prediction"]["label"])
    return {
        "answer": answer,
        "probability": float(content["prediction"]["probabilities"].get(answer, float("nan"))),
        "target": str(content["target"]),
        "wrong": answer != truth if truth else None,
    }


def _value_said(value: Mapping[str, Any], image: str, truth: str) -> dict[str, Any]:
    """Return the columns of what a model of a value said."""
    original, unit = float(value["original"]), str(value["unit"])
    return {
        "answer": with_unit(original, unit),
        "probability": None,
        "target": str(value["target"]["text"]),
        "wrong": abs(original - _number(truth, image)) > float(value["tolerance"]) if truth else None,
        "value": original,
        "value_after": float(value["counterfactual"]),
        "unit": unit,
    }


def _number(truth: str, image: str) -> float:
    try:
        number = float(truth)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TruthError(
            f"The truth of {image}, {truth!r}, is not a number, but the model says a value.",
            "Give the true value in the model's unit, without the unit.",
        )
    return number


def as_csv(rows: Iterable[FindingRow]) -> str:
    """Return the table with a header; text that a spreadsheet would run as a formula gets an apostrophe before it."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in asdict(row).items()})
    return buffer.getvalue()


def write_parquet(rows: Iterable[FindingRow], path: Path) -> None:
    """Write the table as Parquet, each column of its own type; text stands as it is, since nothing there is run.

    Args:
        rows: The table.
        path: The file to write, replaced only once the new one is complete.
    """
    import pyarrow  # not while a server starts
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    types = {"probability": number, "wrong": pyarrow.bool_(), "confidence": number, "regions": pyarrow.int32()}
    types |= {"effect": number, "share": number, "value": number, "value_after": number}
    schema = pyarrow.schema([(name, types.get(name, text)) for name in COLUMNS])
    table = pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    with atomic_path(path) as draft:
        pyarrow.parquet.write_table(table, draft, compression="zstd")


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


@dataclass(frozen=True)
class FindingSummary:
    """One finding over all images.

    Attributes:
        meaning: The finding; empty: no name.
        images: In how many images a region that shows it decides.
        share: Its mean share there, in [0, 1].
        wrong_share: The same where the model errs; None where it never does, or the truth is not known.
        wrong: In how many of these images the model errs; None where the truth is not known.
    """

    meaning: str
    images: int
    share: float
    wrong_share: float | None
    wrong: int | None


def summarise_findings(rows: Iterable[FindingRow]) -> list[FindingSummary]:
    """Return each finding over all images, the one that decides most first."""
    groups: dict[tuple[str, str, str], list[FindingRow]] = {}
    for row in rows:
        groups.setdefault((row.scheme, row.code, row.meaning), []).append(row)
    found = []
    for (_, _, meaning), members in groups.items():
        judged = [row for row in members if row.wrong is not None]
        wrong = [row.share for row in judged if row.wrong]
        found.append(
            FindingSummary(
                meaning=meaning,
                images=len({row.image for row in members}),
                share=sum(row.share for row in members) / len(members),
                wrong_share=sum(wrong) / len(wrong) if wrong else None,
                wrong=len({row.image for row in judged if row.wrong}) if judged else None,
            )
        )
    return sorted(found, key=lambda each: -each.images * each.share)
