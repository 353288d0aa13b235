"""A value in its own unit, everywhere in an explanation's files: JSON, page and PDF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet
import pytest

from otherwise.annotations.vocabulary import Term
from otherwise.batch.table import explained_row, write_table
from otherwise.blackbox.output_kind import OutputKind
from otherwise.explain.explanation import ConceptEntry, Concepts, Explanation
from otherwise.images.image import Geometry
from otherwise.report import headline
from otherwise.report.concepts import concept_part
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.html import render_report
from otherwise.report.pdf import draw_pages
from support.square_models import toy_explanation
from support.value_models import as_value

RISK = OutputKind(
    "survival", times=(0, 180, 365, 730), horizon=730, reading="hazards", reference=30, spread=20, tolerance=2
)
MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age", categories=(("child", 0), ("adult", 200)))


def explained(kind: OutputKind, original: float, target: str, reached: float) -> Explanation:
    """Return an explanation of two regions that brings a value to another one."""
    return as_value(toy_explanation(Geometry((12, 10, 1), np.diag([0.5, 0.5, 2, 1]))), kind, original, target, reached)


def test_the_file_of_a_value_has_a_schema_of_its_own_and_comes_back_as_it_was(tmp_path: Path) -> None:
    made = explained(RISK, 42.0, "<10", 9.1)
    folder = write_explanation(made, tmp_path / "e")
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema())
    assert content["schema"] == "otherwise.explanation/2"
    value = content["value"]
    assert (value["unit"], value["original"], value["counterfactual"], value["reached"]) == ("%", 42.0, 9.1, True)
    assert value["target"]["text"] == "below 10 %"
    assert value["target"]["low"] is None
    assert value["curves"]["times"] == [0, 180, 365, 730]
    assert content["counterfactual"]["value"] == pytest.approx(9.1)
    assert content["counterfactual"]["path"][0]["value"] == pytest.approx(42.0)
    again = read_explanation(folder)
    assert again.value == made.value
    assert explanation_json(again) == content


def test_an_explanation_of_classes_is_of_the_former_schema() -> None:
    content = explanation_json(toy_explanation(Geometry((12, 10, 1), np.eye(4))))
    jsonschema.validate(content, schema())
    assert content["schema"] == "otherwise.explanation/1"
    assert "value" not in content
    assert "value" not in content["counterfactual"]["path"][0]


def test_the_headline_speaks_in_the_unit() -> None:
    made = explained(RISK, 42.0, "<10", 9.1)
    assert headline.question(made) == "The model puts the risk of an event within 730 days at 42 %."
    answer = headline.answer(made)
    assert "It would say 9.1 %, that is below 10 %, if 20 % of the image" in answer
    missed = headline.answer(explained(RISK, 42.0, "<10", 17.0))
    assert missed == "The nearest attempt reaches 17 %, not below 10 %."
    # Within the tolerance, the value has not moved by just as much as was asked for.
    amount = headline.answer(explained(RISK, 42.0, "-27", 16.0))
    assert "It would say 16 % (asked for: 27 percentage points less, within 2) if" in amount
    assert "that is child (below 200 months), if" in headline.answer(explained(MONTHS, 210.0, "child", 190.0))
    assert "150 months (child)" in headline.question(explained(MONTHS, 150.0, "-20", 131.0))


@pytest.mark.parametrize(("target", "reached", "moved"), [("<15", 14.0, "-12"), (">=60", 61.0, "+12")])
def test_concepts_say_by_how_much_their_change_moves_the_value(target: str, reached: float, moved: str) -> None:
    entries = (
        ConceptEntry(Term("RADLEX", "RID5713", "Spiculated margin"), 0, 0.0, 0.0, (1,), 12.0, 0.7),
        ConceptEntry(None, 4, 0.2, 0.1, (), 3.0, 0.3),
    )
    part = concept_part(replace(explained(RISK, 42.0, target, reached), concepts=Concepts("3", 0.7, entries)), (0, 1))
    assert part is not None
    sentence = (
        f" Changing them moves the risk of an event within 730 days: Spiculated margin {moved} percentage points."
    )
    assert part.sentence.endswith(sentence)


@pytest.mark.parametrize(
    ("target", "reached", "way"),
    [("-27", 16.0, "On the way from 42 % to 15 %"), ("<10", 9.0, "On the way from 42 % to below 10 %")],
)
def test_the_path_leads_from_one_value_to_another(target: str, reached: float, way: str) -> None:
    page = render_report(explained(RISK, 42.0, target, reached))
    assert way in page
    assert "changing only this region reaches the target" in page
    assert "risk by 730 days" in page, "where the number beside a survival curve is read"


@pytest.mark.parametrize(
    ("made", "unit", "message"),
    [
        (explained(RISK, 42.0, "<10", 9.1), "percentage points", "below 10 %"),
        (explained(MONTHS, 150.0, "-20", 131.0), "months", "20 months less"),
        (explained(OutputKind("risk", baseline=0.8, horizon=2), 1.5, "=0.2", 0.21), "log hazard", "0.2 log hazard"),
    ],
    ids=["survival", "value", "risk"],
)
def test_the_page_speaks_in_the_unit_and_shows_survival_where_there_is_some(
    made: Explanation, unit: str, message: str
) -> None:
    page = render_report(made)
    assert f"Effect ({unit})" in page
    assert "log-odds" not in page
    assert message in page
    assert made.value is not None
    shown = "Survival of the original and of the counterfactual" in page
    assert shown == (made.value.kind.kind == "survival")
    assert len(list(draw_pages(made, 40))) >= 2


def test_a_table_of_a_batch_has_the_values_and_their_unit(tmp_path: Path) -> None:
    rows = []
    for name, made in (("a", explained(MONTHS, 150.0, "-20", 131.0)), ("b", explained(MONTHS, 90.0, ">=100", 101.0))):
        row = explained_row(write_explanation(made, tmp_path / name))
        assert row is not None
        rows.append({"image": name, "duplicates": [], **row})
    rows.append({"image": "c", "duplicates": [], "status": "failed", "error": "image"})
    table = pyarrow.parquet.read_table(write_table(rows, MONTHS.classes, tmp_path / "t.parquet")).to_pylist()
    first, second, failed = table
    assert (first["label"], first["target"], first["unit"]) == ("150 months", "20 months less", "months")
    assert (first["value"], first["value_after"]) == (150.0, 131.0)
    assert (second["value_low"], second["value_high"]) == (100.0, None)
    assert failed["value"] is None


def test_a_table_of_classes_has_no_columns_of_values(tmp_path: Path) -> None:
    row = explained_row(write_explanation(toy_explanation(Geometry((12, 10, 1), np.eye(4))), tmp_path / "e"))
    table = write_table([{"image": "a", "duplicates": [], **(row or {})}], ("dark", "bright"), tmp_path / "t.parquet")
    assert "value" not in pyarrow.parquet.read_table(table).column_names
