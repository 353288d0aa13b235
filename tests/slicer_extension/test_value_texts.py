"""The panel speaks of a value in its own unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from otherwise.blackbox.output_kind import OutputKind
from otherwise.images.image import Geometry
from otherwise.report.explanation_json import explanation_json
from OtherwiseLib.files.explanation_files import read_json
from OtherwiseLib.ui import texts
from support.square_models import toy_explanation
from support.value_models import as_value

MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age")


def same(text: str) -> str:
    return text


def content_of(reached: float, folder: Path) -> dict:
    made = as_value(toy_explanation(Geometry((12, 10, 1), np.eye(4))), MONTHS, 150.0, "-20", reached)
    (folder / "explanation.json").write_text(json.dumps(explanation_json(made)), encoding="utf-8")
    return read_json(folder)


def test_the_verdict_names_the_values_and_the_target(tmp_path: Path) -> None:
    told = texts.verdict(content_of(131.0, tmp_path), same)
    assert told == (
        "The model says a bone age of 150 months. "
        "It would say 131 months, that is 20 months less, if 20.0% of the image were changed."
    )
    missed = texts.verdict(content_of(145.0, tmp_path), same)
    assert "20 months less, was not reached" in missed
    assert "145 months" in missed


def test_the_path_is_told_in_the_unit(tmp_path: Path) -> None:
    content = content_of(131.0, tmp_path)
    assert texts.on_path(content, 0, same) == "Strength 0.00: 150 months"


def test_a_server_of_values_says_what_it_measures() -> None:
    about = {
        "versions": {"otherwise": "1"},
        "classifiers": [
            {
                "name": "c",
                "version": "1",
                "classes": list(MONTHS.classes),
                "value": {"name": "bone age", "unit": "months"},
                "inputs": {"spatial_dims": 2},
            }
        ],
        "agents": [{"name": "a", "version": "2"}],
    }
    assert "Says: bone age in months" in texts.hosted(about, same)
    about["classifiers"][0]["value"] = {"name": "ejection fraction", "unit": "1"}
    assert "Says: ejection fraction\n" in texts.hosted(about, same), "a number without a unit"
