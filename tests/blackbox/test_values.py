"""A model that says a number: read as declared, refused where that makes no sense, and a black box of two classes."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind, curves_of, output_kind
from otherwise.blackbox.perturbations import white_noise
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.question import QuestionBox, ask
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.blackbox.survival import read_survival, survival_at, survival_curves
from otherwise.cli import build
from otherwise.errors import BundleError, ClassifierError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.value_models import SquareHazards, SquareValue, save

SIZE = (16, 12)
MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age")
TIMES = (0.0, 180.0, 365.0, 730.0)


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(3).random((count, 1, *SIZE)).astype(np.float32)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(build(), [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def imported(module: torch.nn.Module, folder: Path, kind: OutputKind, output: str | None = None) -> Path:
    model = save(module, folder / "model.ts", SIZE)
    import_classifier(model, folder / "bundle", inputs=InputSpec(SIZE), answer=kind, output=output)
    return folder / "bundle"


@pytest.mark.parametrize(
    "kind",
    [
        MONTHS,
        OutputKind("risk", population="phantoms", baseline=0.8, horizon=730),
        OutputKind("value", unit="1", range=(-1e-4, 1e-4), reference=3e-5, spread=1e-6),
    ],
)
def test_a_value_is_read_back_from_an_answer_without_loss(kind: OutputKind) -> None:
    values = kind.reference + kind.spread * np.array([-300.0, -20.0, -1.0, 0.0, 1e-9, 0.7, 40.0, 600.0])
    answers = kind.answer(values)
    assert answers.shape == (8, 2)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    np.testing.assert_allclose(kind.value_of(answers), values, rtol=1e-12, atol=kind.spread * 1e-12)
    assert OutputKind.from_dict(json.loads(json.dumps(kind.to_dict()))) == kind


def test_every_reading_of_survival_says_the_same_curve() -> None:
    hazards = np.array([[0.1, 0.2, 0.5], [0.0, 0.01, 0.9]])
    kept = np.cumprod(1 - hazards, axis=1)
    events = -np.diff(np.concatenate([np.ones((2, 1)), kept], axis=1), axis=1)
    whole = np.concatenate([events, kept[:, -1:]], axis=1)
    same = {
        "hazards": hazards,
        "hazard-logits": np.log(np.maximum(hazards, 1e-12)) - np.log1p(-hazards),
        "interval-survival": 1 - hazards,
        "event-probabilities": events,
        "event-logits": np.log(np.maximum(whole, 1e-300)),
        "curve": kept,
    }
    for reading, outputs in same.items():
        curves = survival_curves(outputs, reading, TIMES)
        np.testing.assert_allclose(curves[:, 1:], kept, atol=1e-9, err_msg=reading)
        assert (curves[:, 0] == 1).all()
    np.testing.assert_allclose(survival_at(curves, TIMES, 730), kept[:, 2])
    np.testing.assert_allclose(survival_at(curves, TIMES, 547.5), np.sqrt(kept[:, 1] * kept[:, 2]))


@pytest.mark.parametrize(
    ("outputs", "reading"),
    [
        (np.random.default_rng(0).normal(size=(9, 3)) * 4, "hazard-logits"),
        (np.random.default_rng(0).dirichlet(np.ones(4), 9), "event-probabilities"),
        (np.random.default_rng(0).uniform(0, 0.6, (9, 3)), "hazards"),
        (np.tile([1.0, 0.9, 0.5, 0.1], (9, 1)), "curve"),
    ],
)
def test_the_reading_of_survival_is_found_where_only_one_fits(outputs: np.ndarray, reading: str) -> None:
    assert read_survival(outputs, 3)[0] == reading


@pytest.mark.parametrize(
    ("outputs", "readings"),
    [
        ([0.9, 0.5, 0.1], "hazards or curve"),
        ([3.0, -2.0, 1.0, 5.0], "event-logits"),
        (
            [0.1, 0.3, 0.2],
            "hazards or event-probabilities",
        ),  # DeepHit without its output for no event sums to less than 1
        ([0.3, 0.2, 0.1], "hazards or event-probabilities or curve"),
    ],
)
def test_the_reading_of_survival_is_asked_for_where_two_fit(outputs: list[float], readings: str) -> None:
    with pytest.raises(BundleError, match=f"--reading {readings}"):
        read_survival(np.tile(outputs, (9, 1)), 3)


@pytest.mark.parametrize(
    ("outputs", "reading", "fault"),
    [
        ([[0.9, 0.95, 0.3]], "curve", "rises"),
        ([[0.5, 0.4, 0.3]], "event-probabilities", "sum to 1.2"),
        ([[1.5, 0.4, 0.3]], "hazards", "no probabilities"),
        ([[0.1, 0.4]], "hazards", "2 outputs for 3 intervals"),
        ([[0.7, 0.6, 0.5, 0.2]], "curve", "begins with 0.7"),
        ([[0.1, math.nan, 0.3]], "hazards", "NaN"),
    ],
)
def test_what_is_no_survival_is_refused(outputs: list[list[float]], reading: str, fault: str) -> None:
    kind = OutputKind("survival", times=TIMES, horizon=730, reading=reading)
    with pytest.raises(ClassifierError, match=fault) as refused:
        kind.values(np.array(outputs))
    assert refused.value.hint


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"kind": "value", "range": (0, 1)}, "unit"),
        ({"kind": "value", "unit": "mm"}, "range of the value is missing"),
        ({"kind": "value", "unit": " ", "range": (0, 1)}, "unit"),
        ({"kind": "value", "unit": "mm", "range": (3, 3)}, "empty"),
        ({"kind": "value", "unit": "mm", "range": (0, math.inf), "reference": 5.0, "spread": 1.0}, "no end"),
        ({"kind": "risk", "categories": (("low", -math.inf), ("high", 1))}, "ascend"),
        ({"kind": "risk", "baseline": 0.8, "horizon": math.inf}, "horizon inf"),
        ({"kind": "value", "unit": "mm", "range": (0, 1), "reference": 2.0}, "reference"),
        ({"kind": "value", "unit": "mm", "range": (0, 1), "spread": -1.0}, "spread"),
        ({"kind": "value", "unit": "mm", "range": (0, 1), "tolerance": math.inf}, "tolerance"),
        ({"kind": "value", "unit": "mm", "range": (0, 1), "higher_is": "nice"}, "nice"),
        ({"kind": "value", "unit": "mm", "range": (0, 9), "categories": (("a", 5), ("b", 2))}, "ascend"),
        ({"kind": "value", "unit": "mm", "range": (0, 9), "categories": (("a", 50),)}, "outside of the range"),
        ({"kind": "survival", "times": (0, 1, 2), "reading": "hazards"}, "horizon is missing"),
        ({"kind": "survival", "times": (0, 2, 1), "horizon": 1, "reading": "hazards"}, "no boundaries"),
        ({"kind": "survival", "times": (1, 2), "horizon": 1, "reading": "hazards"}, "0 first"),
        ({"kind": "survival", "times": (0, 2), "horizon": 3, "reading": "hazards"}, "horizon 3"),
        ({"kind": "survival", "times": (0, 2), "horizon": 1, "reading": "tea leaves"}, "tea leaves"),
        ({"kind": "risk", "baseline": 1.2, "horizon": 1}, "baseline"),
        ({"kind": "mood"}, "mood"),
    ],
)
def test_an_impossible_kind_of_output_is_refused_in_one_line(fields: dict, fault: str) -> None:
    with pytest.raises(BundleError, match=fault) as refused:
        OutputKind(**fields)
    assert "\n" not in str(refused.value)
    assert refused.value.hint


def test_a_hosted_value_is_what_its_network_says(tmp_path: Path) -> None:
    box = load_classifier(imported(SquareValue(), tmp_path, MONTHS))
    assert box.classes == ("at most 114 months", "above 114 months")
    asked = images()
    truth = SquareValue()(torch.from_numpy(asked.transpose(0, 1, 3, 2))).numpy()[:, 0]
    np.testing.assert_allclose(MONTHS.value_of(box.predict(asked)), truth, rtol=1e-5)
    log_odds = box.module(torch.from_numpy(asked)).numpy()
    np.testing.assert_allclose(log_odds[:, 1], (truth - MONTHS.reference) / MONTHS.spread, rtol=1e-4)
    assert output_kind(SmoothedBlackBox(box)) == MONTHS
    assert curves_of(box, asked) is None


def test_under_noise_a_value_is_the_mean_of_values(tmp_path: Path) -> None:
    kind = replace(MONTHS, spread=1.0)
    box = load_classifier(imported(SquareValue(), tmp_path, kind))
    smoothed, asked = SmoothedBlackBox(box, noise=0.2), images(1)
    copies = torch.from_numpy(np.repeat(asked, smoothed.copies, axis=0))
    noisy = white_noise(copies, smoothed.noise, torch.Generator().manual_seed(smoothed.seed)).numpy()
    values = kind.value_of(box.predict(noisy))
    assert np.ptp(values) > 2
    np.testing.assert_allclose(kind.value_of(smoothed.predict(asked)), values.mean())


def test_under_noise_survival_curves_belong_to_the_value(tmp_path: Path) -> None:
    kind = OutputKind("survival", times=TIMES, horizon=730, reading="hazard-logits")
    smoothed = SmoothedBlackBox(load_classifier(imported(SquareHazards(), tmp_path, kind)), noise=0.2)
    asked = images(2)
    curves = curves_of(smoothed, asked)
    assert curves is not None
    np.testing.assert_allclose(100 * (1 - curves[:, -1]), kind.value_of(smoothed.predict(asked)))


def test_a_hosted_survival_network_says_the_risk_at_the_horizon_and_its_curve(tmp_path: Path) -> None:
    kind = OutputKind("survival", times=TIMES, horizon=500, reading="auto")
    box = load_classifier(imported(SquareHazards(), tmp_path, kind))
    assert output_kind(box).reading == "hazard-logits"
    asked = images()
    hazards = torch.sigmoid(SquareHazards()(torch.from_numpy(asked.transpose(0, 1, 3, 2)))).double().numpy()
    kept = np.cumprod(1 - hazards, axis=1)
    share = (500 - 365) / (730 - 365)
    truth = 100 * (1 - kept[:, 1] ** (1 - share) * kept[:, 2] ** share)
    np.testing.assert_allclose(output_kind(box).value_of(box.predict(asked)), truth, rtol=1e-5)
    curves = curves_of(box, asked)
    assert curves is not None
    np.testing.assert_allclose(curves[:, 1:], kept, rtol=1e-5)
    log_odds = box.module(torch.from_numpy(asked)).numpy()
    np.testing.assert_allclose(log_odds[:, 1], (truth - 50) / output_kind(box).spread, atol=1e-4)


def test_the_kind_and_the_key_of_an_output_can_be_said_at_once(tmp_path: Path) -> None:
    class Two(SquareValue):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            value = super().forward(x)
            return value, 2 * value

    box = load_classifier(imported(Two(), tmp_path, MONTHS, "1:value"))
    asked = images()
    truth = 2 * SquareValue()(torch.from_numpy(asked.transpose(0, 1, 3, 2))).numpy()[:, 0]
    np.testing.assert_allclose(MONTHS.value_of(box.predict(asked)), truth, rtol=1e-5)


def test_the_command_line_imports_what_the_documentation_writes(tmp_path: Path) -> None:
    value, hazards = save(SquareValue(), tmp_path / "v.ts"), save(SquareHazards(), tmp_path / "h.ts")
    how = ("--size", "16,12", "--intensity", "0,1")
    code, output = run(
        "classifier", "import", value, "--output", "value", "--unit", "months", "--range", "0,228", *how,
        "--out", tmp_path / "value",
    )  # fmt: skip
    assert code == 0, output
    assert "114 months (--reference" in output
    code, output = run(
        "classifier", "import", hazards, "--output", "survival", "--times", "0,180,365,730", "--horizon", 730, *how,
        "--out", tmp_path / "survival",
    )  # fmt: skip
    assert code == 0, output
    assert "hazard-logits" in output
    code, output = run("classifier", "check", tmp_path / "survival")
    assert code == 0, output
    assert "median" in output
    assert "%" in output


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--output", "value", "--range", "0,228"), "unit"),
        (("--output", "value", "--unit", "mm", "--range", "9,1"), "empty"),
        (("--output", "value", "--unit", "mm", "--range", "nan,1"), "empty"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--reference", "nan"), "no finite number"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--spread", "nan"), "no finite number"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--tolerance", "nan"), "no finite number"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--tolerance", "inf"), "no finite number"),
        (("--output", "value", "--unit", "mm"), "--range"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--classes", "a,b"), "no classes"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--times", "0,1"), "--times does not belong"),
        (("--output", "value", "--unit", "mm", "--range", "0,1", "--category", "high"), "NAME=LOWEST"),
        (("--output", "survival", "--horizon", "3"), "--times"),
        (("--output", "survival", "--times", "0,1,2", "--horizon", "2"), "1 outputs for 2 intervals"),
        (("--output", "survival", "--times", "0,2,1", "--horizon", "2"), "ascending"),
        (("--classes", "a,b", "--unit", "mm"), "--unit is for value"),
        ((), "--classes is missing"),
    ],
)
def test_bad_options_are_refused_in_one_line_with_a_hint(words: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    model = save(SquareValue(), tmp_path / "v.ts")
    code, output = run(
        "classifier", "import", model, "--size", "16,12", "--intensity", "0,1", *words, "--out", tmp_path / "b"
    )
    assert code != 0
    assert fault in output
    assert not (tmp_path / "b").exists()


PERCENT = OutputKind(
    "value", unit="%", range=(0, 100), reference=40, spread=20, tolerance=2, name="risk", higher_is="worse",
    categories=(("low", 0), ("intermediate", 10), ("high", 20)),
)  # fmt: skip


def test_a_question_is_the_same_model_as_two_classes_at_another_cut(tmp_path: Path) -> None:
    box = load_classifier(imported(SquareValue(), tmp_path, MONTHS))
    asked = images()
    values = MONTHS.value_of(box.predict(asked))
    question = ask(MONTHS, float(values[0]), "<40")
    two = QuestionBox(box, MONTHS.value_of, question)
    answers = two.predict(asked)
    assert two.classes == ("at most 40 months", "above 40 months")
    np.testing.assert_allclose(question.value_of(answers), values)
    np.testing.assert_array_equal(answers[:, 0] > answers[:, 1], values < question.cut)
    at_reference = np.diff(np.log(box.predict(asked)), axis=1)
    np.testing.assert_allclose(np.diff(np.log(answers), axis=1) - at_reference, question.shift(MONTHS), atol=1e-9)


def test_a_table_of_values_has_a_value_and_a_unit_and_no_classes(tmp_path: Path) -> None:
    bundle = imported(SquareValue(), tmp_path, MONTHS)
    (tmp_path / "images").mkdir()
    for name, level in (("dark", 0.2), ("light", 0.8)):
        pixels = np.linspace(level, level + 0.1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(1, *SIZE, 1)
        image = Image(pixels, Geometry((*SIZE, 1), np.eye(4)), name, 2)
        write_image(image, tmp_path / "images" / f"{name}.nrrd")
    code, output = run("classify", tmp_path / "images", "--classifier", bundle, "--out", tmp_path / "answers.csv")
    assert code == 0, output
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        table = csv.DictReader(file)
        rows = {row["id"]: row for row in table}
    assert list(rows["dark"]) == ["id", "path", "value", "unit", "warnings", "error"]
    assert rows["dark"]["unit"] == "months"
    assert 0 < float(rows["dark"]["value"]) < float(rows["light"]["value"])
