"""A value in its own unit, everywhere in an explanation's files: JSON, page and PDF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.question import Question, ask
from otherwise.explain.explanation import Counterfactual, Explanation, PathPoint, Prediction
from otherwise.explain.value import SurvivalCurves, ValueAnswer
from otherwise.images.image import Geometry
from otherwise.report import headline
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.html import render_report
from otherwise.report.pdf import draw_pages
from support.square_models import toy_explanation

RISK = OutputKind(
    "survival", times=(0, 180, 365, 730), horizon=730, reading="hazards", reference=30, spread=20, tolerance=2
)
MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age", categories=(("child", 0), ("adult", 200)))


def says(question: Question, value: float) -> dict[str, float]:
    log_odds = (value - question.cut) / question.spread
    return dict(zip(question.classes, (1 / (1 + np.exp(log_odds)), 1 / (1 + np.exp(-log_odds))), strict=True))


def explained(kind: OutputKind, original: float, target: str, reached: float) -> Explanation:
    """Return an explanation of two regions that brings a value to another one."""
    toy = toy_explanation(Geometry((12, 10, 1), np.diag([0.5, 0.5, 2, 1])))
    question = ask(kind, original, target)
    found = Counterfactual(question.reached(reached), says(question, reached), 0.2, 0.05)
    curves = None
    if kind.kind == "survival":
        before, after = (tuple(np.linspace(1, 1 - value / 100, 4)) for value in (original, reached))
        curves = SurvivalCurves(kind.times, before, after, kind.time_unit)
    along = np.linspace(original, reached + 0.4 * (reached - original), len(toy.path))
    return replace(
        toy,
        prediction=Prediction(question.classes[1 - question.target], says(question, original)),
        target=question.classes[question.target],
        counterfactual=found,
        minimal=found,
        alternatives=(found,),
        path=tuple(
            PathPoint(point.strength, says(question, value), question.reached(value))
            for point, value in zip(toy.path, along, strict=True)
        ),
        value=ValueAnswer(kind, question, original, reached, curves),
    )


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
    assert headline.question(made) == "The model says a risk of an event within 730 days of 42 %."
    answer = headline.answer(made)
    assert "It would say 9.1 %, that is below 10 %, if 20 % of the image" in answer
    missed = headline.answer(explained(RISK, 42.0, "<10", 17.0))
    assert missed == "The nearest attempt reaches 17 %, not below 10 %."
    assert "150 months (child)" in headline.question(explained(MONTHS, 150.0, "-20", 131.0))


@pytest.mark.parametrize(
    ("made", "unit", "told"),
    [
        (explained(RISK, 42.0, "<10", 9.1), "percentage points", "below 10 %"),
        (explained(MONTHS, 150.0, "-20", 131.0), "months", "20 months less"),
        (explained(OutputKind("risk", baseline=0.8, horizon=2), 1.5, "=0.2", 0.21), "log hazard", "0.2 log hazard"),
    ],
    ids=["survival", "value", "risk"],
)
def test_the_page_speaks_in_the_unit_and_shows_survival_where_there_is_some(
    made: Explanation, unit: str, told: str
) -> None:
    page = render_report(made)
    assert f"Effect ({unit})" in page
    assert "log-odds" not in page
    assert told in page
    assert made.value is not None
    shown = "Survival of the original and of the counterfactual" in page
    assert shown == (made.value.kind.kind == "survival")
    assert len(list(draw_pages(made, 40))) >= 2
