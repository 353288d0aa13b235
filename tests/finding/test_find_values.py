"""Finds of a model that says a value: ranked by its direction of concern, told in its unit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from otherwise.blackbox.concern import Concern
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import BlackBox
from otherwise.cli import build
from otherwise.errors import BundleError, OtherwiseError
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.value_models import SquareValue, save

SCORE = OutputKind(
    "value", name="oedema score", unit="mm", range=(0, 100), reference=50, spread=10,
    categories=(("mild", 0), ("fair", 30), ("severe", 70)),
)  # fmt: skip
SIDES = SCORE.classes


def run(*words: object) -> Result:
    return CliRunner().invoke(build(), [str(word) for word in words])


def imported(folder: Path, find: str, spread: float = 10) -> Path:
    model = save(SquareValue(), folder / "m.ts", (8, 8))
    words = ("classifier", "import", model, "--output", "value", "--unit", "mm", "--range", "0,100", "--spread", spread)
    more = ("--measures", "oedema score", "--size", "8,8", "--intensity", "0,100", "--spacing", "1,1")
    categories = ("--category", "mild=0", "--category", "fair=30", "--category", "severe=70")
    result = run(*words, *more, *categories, "--reference", "50", "--find", find, "--out", folder / "bundle")
    if result.exit_code:
        raise result.exception or AssertionError(result.output)
    return folder / "bundle"


def picture() -> Image:
    """Return an image of 50 with a bright square and a dark one; a pixel has half a millimetre."""
    array = np.full((1, 120, 80, 1), 50, np.float32)
    array[0, 80:104, 40:64], array[0, 20:44, 20:44] = 90, 15
    return Image(array, Geometry((120, 80, 1), np.diag([-0.5, -0.5, 1.0, 1.0])), "whole", 2)


def finds_with(folder: Path, find: str) -> tuple[BlackBox, list]:
    box = load_classifier(imported(folder, find))
    return box, Finder(box).find(picture(), most=5)


@pytest.mark.parametrize(
    ("find", "value", "square", "beyond"),
    [
        ("higher", 90, (80, 40), None),
        ("lower", 15, (20, 20), None),
        (">=70", 90, (80, 40), 1),
        ("below 20 mm", 15, (20, 20), 1),
        ("severe", 90, (80, 40), 1),
        ("mild", 15, (20, 20), 1),
        (">95", 90, (80, 40), 0),
        (SIDES[1], 90, (80, 40), 1),  # as bundles of earlier versions name it
    ],
)
def test_the_first_find_is_the_worst_in_the_direction_of_concern(
    tmp_path: Path, find: str, value: float, square: tuple[int, int], beyond: int | None
) -> None:
    _, found = finds_with(tmp_path, find)
    assert found[0].value == pytest.approx(value, abs=1)
    assert found[0].unit == "mm"
    assert all(low >= corner - 1 for low, corner in zip(found[0].low, square, strict=False))
    assert all(high <= corner + 25 for high, corner in zip(found[0].high, square, strict=False))
    values = [each.value for each in found]
    assert values == sorted(values, reverse=value > 50)
    if beyond is not None:
        assert (found[0].probability >= 0.5) == bool(beyond)


@pytest.mark.parametrize("find", ["bright", "+20", "=40", "fair", "higher,lower", ">400", "20 s"])
def test_what_is_no_direction_of_concern_is_refused(tmp_path: Path, find: str) -> None:
    with pytest.raises(OtherwiseError) as refused:
        imported(tmp_path, find)
    assert "--find" in refused.value.hint
    assert len(str(refused.value).splitlines()) == 1


def test_a_concern_of_classes_is_refused_as_before() -> None:
    with pytest.raises(BundleError, match="one direction of concern"):
        Concern.of(SCORE, ("higher", "lower"))


def test_the_score_is_one_half_at_the_threshold_and_rises_towards_the_concern() -> None:
    values = np.linspace(0, 100, 21)
    for text, cut, sign in (("higher", 50, 1), ("lower", 50, -1), (">=80", 80, 1), ("<20", 20, -1)):
        concern = Concern.of(SCORE, (text,))
        scores = concern.scores(values)
        assert (np.diff(sign * scores) > 0).all()
        assert concern.scores(np.array(float(cut))) == pytest.approx(0.5, abs=1e-9)
        assert ((sign * (values - cut) > 1) <= concern.suspicious(values)).all()


def test_the_command_the_page_and_the_table_speak_in_the_unit(tmp_path: Path) -> None:
    bundle = imported(tmp_path, ">=70")
    (tmp_path / "images").mkdir()
    file = write_image(picture(), tmp_path / "images" / "whole.nrrd")
    result = run("find", file, "--classifier", bundle, "--out", tmp_path / "one", "--most", 3)
    assert result.exit_code == 0, result.output
    assert "oedema score" in result.output
    assert "90 mm (severe)" in result.output
    content = json.loads(run("find", file, "--classifier", bundle, "--json").stdout)["finds"]
    assert content[0]["value"] == pytest.approx(90, abs=1)
    assert content[0]["unit"] == "mm"
    every = run("find", tmp_path / "images", "--all", "--classifier", bundle, "--out", tmp_path / "all")
    assert every.exit_code == 0, every.output
    with (tmp_path / "all" / "finds.csv").open() as stream:
        first = next(csv.DictReader(stream))
    assert float(first["value"]) == pytest.approx(90, abs=1)
    assert first["unit"] == "mm"
    one, many = ((tmp_path / name / "finds.html").read_text(encoding="utf-8") for name in ("one", "all"))
    assert "at least 70 mm" in one
    assert "90 mm (severe)" in one
    assert "90 mm (severe)" in many
    for text in (one, many, result.output, ",".join(first)):
        assert not any(side in text for side in SIDES)
        assert "probab" not in text


def test_patches_whose_value_cannot_be_read_back_are_left_out_and_counted(tmp_path: Path) -> None:
    bundle = imported(tmp_path, "lower", spread=0.06)  # the bright square is 667 spreads above the reference of 50
    (tmp_path / "images").mkdir()
    file = write_image(picture(), tmp_path / "images" / "whole.nrrd")
    scores = Finder(load_classifier(bundle)).score(picture())
    assert scores.far > 0
    assert len(scores.starts) == len(scores.answers)
    assert not np.isnan(scores.answers).any()
    said = run("find", file, "--classifier", bundle, "--json")
    assert said.exit_code == 0, said.output
    content = json.loads(said.stdout)
    assert content["finds"][0]["value"] == pytest.approx(15, abs=1)
    (warning,) = (each["text"] for each in content["warnings"] if each["code"] == "far-values")
    assert warning.startswith(f"{scores.far} patch")
    assert "left out of the search" in warning
    every = run("find", tmp_path / "images", "--all", "--classifier", bundle, "--out", tmp_path / "all")
    assert every.exit_code == 0, every.output
    assert warning in (tmp_path / "all" / "finds.csv").read_text(encoding="utf-8")


def test_an_image_of_which_no_patch_can_be_read_back_is_refused_in_one_line(tmp_path: Path) -> None:
    finder = Finder(load_classifier(imported(tmp_path, "lower", spread=0.06)))
    bright = picture().with_array(np.random.default_rng(0).uniform(91, 99, (1, 120, 80, 1)).astype(np.float32))
    with pytest.raises(OtherwiseError, match="Of no patch") as refused:
        finder.score(bright)
    assert "--spread" in refused.value.hint
    assert len(str(refused.value).splitlines()) == 1
