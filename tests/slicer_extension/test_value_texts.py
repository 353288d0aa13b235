"""The panel speaks of a value in its own unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.images.image import Geometry
from otherwise.report.explanation_json import explanation_json
from OtherwiseLib.files.explanation_files import read_json
from OtherwiseLib.files.finds import read_finds
from OtherwiseLib.ui import texts, value_texts
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
    verdict = texts.verdict(content_of(131.0, tmp_path), same)
    assert verdict == (
        "The model puts the bone age at 150 months. "
        "It would say 131 months (asked for: 20 months less, within 3.8) if 20.0% of the image were changed."
    )
    missed = texts.verdict(content_of(145.0, tmp_path), same)
    assert "20 months less, was not reached" in missed
    assert "145 months" in missed


def test_the_verdict_of_a_patch_names_the_values_of_the_patch_and_of_the_whole_image(tmp_path: Path) -> None:
    content = content_of(131.0, tmp_path)
    sides = dict.fromkeys(MONTHS.classes, 0.5)
    content["place"] = {"before": sides, "after": sides, "values": {"before": 152.0, "after": 140.0}}
    verdict = texts.verdict(content, same)
    assert verdict == (
        "With this patch changed, the bone age of the whole image, read off its most suspicious patch, would be 140 "
        "months instead of 152 months. The model puts the bone age of this patch at 150 months. "
        "It would say 131 months (asked for: 20 months less, within 3.8) if 20.0% of the patch were changed."
    )
    content["place"]["values"]["after"] = 152.0
    assert "stays 152 months. The model puts" in texts.verdict(content, same)
    del content["place"]["values"]  # explanations of earlier versions
    assert texts.verdict(content, same).startswith("The model puts the bone age of this patch")
    assert not any(side in verdict for side in MONTHS.classes)


def test_a_find_names_its_value(tmp_path: Path) -> None:
    pixel = "data:image/png;base64,iVBORw0KGgo="
    entry = {
        "rank": 1,
        "probabilities": dict.fromkeys(MONTHS.classes, 0.5),
        "centre_ras": [1, 2, 3],
        "thumbnail": pixel,
    }
    entry |= {"size_mm": [8, 8, 1], "axes": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    classes, value = read_finds({"finds": [entry, {**entry, "value": 131.4, "unit": "months"}]}, tmp_path)
    assert texts.find_text(value, same) == "131 months\nR 1, A 2, S 3 mm"
    assert "50%" in texts.find_text(classes, same)


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


@pytest.mark.parametrize(
    ("content", "header", "tip"),
    [
        ({}, "Effect", "log-odds"),
        ({"value": {"unit": "%"}}, "Effect, points", "percentage points"),
        ({"value": {"unit": "mm"}}, "Effect, mm", "mm"),
        ({"value": {"unit": "1"}}, "Effect", "towards the target"),
    ],
)
def test_effects_of_a_value_are_headed_by_its_unit(content: dict, header: str, tip: str) -> None:
    text, more = value_texts.effect_header(content, same)
    assert text == header
    assert more.endswith(tip)
