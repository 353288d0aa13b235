"""All findings of an archive as one table, with the model's answer and the truth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pyarrow import parquet

from otherwise.blackbox.output_kind import OutputKind
from otherwise.cli import build, run
from otherwise.explain.explanation import Explanation
from otherwise.report.explanation_json import explanation_json
from otherwise.report.findings_table import COLUMNS, as_csv, finding_rows, summarise_findings
from otherwise.report.folder import write_explanation
from support.value_models import as_value

Explain = Callable[..., Explanation]


def finding(name: str, confidence: float) -> dict[str, object]:
    more = {"evidence": "finding", "disputed": False}
    return {"name": name, "scheme": "X", "code": name[:8], "confidence": confidence, **more}


@pytest.fixture
def explained(explain: Explain) -> Explanation:
    """Two regions, of effects 3 and 1; the first shows two findings."""
    explanation = explain()
    first, second = explanation.regions
    first = replace(first, effect=3.0, findings=(finding("calcified", 0.9), finding("smooth", 0.7)), concept=None)
    second = replace(second, effect=1.0, findings=(finding("smooth", 0.8),), concept=None)
    return replace(explanation, regions=(first, second))


def test_each_finding_has_its_effect_its_share_and_its_greatest_confidence(explained: Explanation) -> None:
    smooth, calcified = finding_rows(explanation_json(explained))
    assert (smooth.meaning, smooth.effect, smooth.share, smooth.confidence, smooth.regions) == (
        "smooth",
        4.0,
        1.0,
        0.8,
        2,
    )
    assert (calcified.effect, calcified.share, calcified.regions) == (3.0, 0.75, 1)
    assert smooth.wrong is None


def test_regions_without_a_name_are_in_the_table_too(explain: Explain) -> None:
    explanation = explain()
    bare = tuple(replace(region, concept=None, effect=2.0) for region in explanation.regions)
    (row,) = finding_rows(explanation_json(replace(explanation, regions=bare)))
    assert (row.meaning, row.confidence, row.share) == ("", None, 1.0)


def test_what_decides_where_the_model_errs_is_told(explained: Explanation) -> None:
    content = explanation_json(explained)
    image, answer = content["image"]["id"], content["prediction"]["label"]
    right, wrong = (finding_rows(content, {image: truth}) for truth in (answer, "something else"))
    assert {row.wrong for row in right} == {False}
    assert {row.wrong for row in wrong} == {True}
    smooth = summarise_findings([*right, *wrong])[0]
    assert (smooth.meaning, smooth.share, smooth.wrong_share, smooth.wrong) == ("smooth", 1.0, 1.0, 1)


def test_words_are_no_formulas(explained: Explanation) -> None:
    first, second = explained.regions
    evil = replace(first, findings=(finding('=HYPERLINK("x")', 0.9),))
    rows = finding_rows(explanation_json(replace(explained, regions=(evil, second))))
    read_back = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert tuple(read_back[0]) == COLUMNS
    assert read_back[0]["meaning"].startswith("'=")


def test_the_command_makes_the_table_and_says_what_it_left_out(
    explained: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_explanation(explained, tmp_path / "all" / "one")
    (tmp_path / "all" / "two").mkdir()
    (tmp_path / "all" / "two" / "explanation.json").write_text("{")
    truth = tmp_path / "truth.csv"
    truth.write_text(f"image,label\n{explained.image_id},something else\n")
    out = tmp_path / "table.csv"
    command = ["concepts", "table", str(tmp_path / "all"), "--out", str(out), "--truth", str(truth), "--json"]
    assert run(build, command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["rows"], printed["images"], printed["damaged"], printed["without_truth"]) == (2, 1, 1, 0)
    assert {row["wrong"] for row in csv.DictReader(io.StringIO(out.read_text()))} == {"True"}


def test_as_parquet_it_keeps_types_and_missing_values(
    explained: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = explained.regions
    bare = replace(explained, regions=(first, replace(second, findings=(), concept=None)))
    write_explanation(bare, tmp_path / "all" / "one")
    out = tmp_path / "table.parquet"
    assert run(build, ["concepts", "table", str(tmp_path / "all"), "--out", str(out)]) == 0
    rows = parquet.read_table(out).to_pylist()
    assert rows == [asdict(row) for row in finding_rows(explanation_json(bare))]
    assert {row["wrong"] for row in rows} == {None}
    assert [row["confidence"] for row in rows if not row["meaning"]] == [None]
    capsys.readouterr()
    assert run(build, ["concepts", "table", str(tmp_path / "all"), "--out", str(tmp_path / "table.xlsx")]) == 2
    assert ".parquet" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["name,label\nx,y\n", "", "image\nx\n"])
def test_a_file_of_truths_that_is_none_is_refused_in_one_line(
    explained: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    write_explanation(explained, tmp_path / "all" / "one")
    truth = tmp_path / "truth.csv"
    truth.write_text(text)
    command = ["concepts", "table", str(tmp_path / "all"), "--out", str(tmp_path / "t.csv"), "--truth", str(truth)]
    assert run(build, command) == 2
    assert "image and label" in capsys.readouterr().err


@pytest.fixture
def of_value(explained: Explanation) -> Explanation:
    """The same regions behind a risk of 45.4 % that was brought to 20 %."""
    kind = OutputKind("value", name="risk", unit="%", range=(0, 100), spread=20, reference=50, tolerance=5)
    return as_value(explained, kind, original=45.4, target="<20", reached=19.0)


def test_of_a_value_the_table_has_numbers_in_the_unit_and_what_was_asked_for(of_value: Explanation) -> None:
    smooth, _ = finding_rows(explanation_json(of_value))
    assert (smooth.answer, smooth.value, smooth.value_after, smooth.unit) == ("45.4 %", 45.4, 19.0, "%")
    assert smooth.target == of_value.value.question.text
    assert (smooth.effect, smooth.probability) == (4.0, None)


def test_a_value_errs_beyond_its_tolerance(of_value: Explanation) -> None:
    content = explanation_json(of_value)
    tolerance = of_value.value.question.tolerance
    image = content["image"]["id"]
    near, far = (
        finding_rows(content, {image: str(45.4 + distance)})[0].wrong for distance in (0.9 * tolerance, 1.1 * tolerance)
    )
    assert (near, far) == (False, True)


@pytest.mark.parametrize("truth", ["high", "nan", "45 %"])
def test_the_truth_of_a_value_that_is_no_number_ends_the_command_in_one_line(
    of_value: Explanation, truth: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_explanation(of_value, tmp_path / "all" / "one")
    file = tmp_path / "truth.csv"
    file.write_text(f"image,label\n{of_value.image_id},{truth}\n")
    command = ["concepts", "table", str(tmp_path / "all"), "--out", str(tmp_path / "t.csv"), "--truth", str(file)]
    assert run(build, command) == 2
    assert "is not a number" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()
