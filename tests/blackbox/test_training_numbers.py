"""Networks learn a value or survival from a table, say it in its unit, and order patients as their truth does."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind, output_kind
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.concordance import concordance_index
from otherwise.blackbox.training.objectives import SurvivalObjective, ValueObjective, fitted_to
from otherwise.blackbox.training.trainer import Recipe, train_network
from otherwise.cli import classifier
from otherwise.cli.classifier.training_task import read_task
from otherwise.errors import BundleError, OtherwiseError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image

INPUTS = InputSpec((16, 16), modality="MR")
TIMES = (0.0, 1.0, 2.0, 4.0)
SURVIVAL = OutputKind("survival", times=TIMES, horizon=2.0, reading="hazard-logits", time_unit="years")


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a square of random brightness, and that brightness in [0, 1]."""
    rng = np.random.default_rng(seed)
    bright = rng.random(count)
    images = 0.2 + 0.02 * rng.standard_normal((count, 1, 16, 16))
    images[:, :, 4:12, 4:12] += 0.7 * bright[:, None, None, None]
    return images.clip(0, 1).astype(np.float32), bright


def followed(bright: np.ndarray, seed: int) -> np.ndarray:
    """Times and events of patients whose hazard grows with the brightness; some are censored."""
    rng = np.random.default_rng(seed)
    happens, ends = rng.exponential(1 / np.exp(3 * bright - 1.5)), rng.uniform(0.5, 5, len(bright))
    return np.stack([np.minimum(happens, ends), happens <= ends], axis=1)


def test_a_score_that_is_mostly_zero_has_a_reference_within_its_range() -> None:
    scores = np.array([0.0, 0.0, 0.0, 10.0, 30.0])
    kind = fitted_to({"kind": "value", "unit": "1", "range": (0.0, 100.0)}, scores)
    assert kind.reference == 8.0


@pytest.mark.parametrize(("reference", "spread"), [(None, None), (100.0, 25.0)])
def test_a_value_is_said_in_its_unit(tmp_path: Path, reference: float | None, spread: float | None) -> None:
    (images, bright), (others, unseen) = squares(240, 1), squares(80, 2)
    given = {key: each for key, each in (("reference", reference), ("spread", spread)) if each is not None}
    kind = fitted_to({"kind": "value", "unit": "mm", "name": "length", **given}, 50 + 200 * bright)
    figures = train_network(
        (images, 50 + 200 * bright),
        ValueObjective(kind),
        INPUTS,
        tmp_path / "n",
        validation=(others, 50 + 200 * unseen),
        recipe=Recipe(epochs=12),
    )
    hosted = load_classifier(tmp_path / "n")
    output = output_kind(hosted)
    values = output.value_of(hosted.predict(others))
    assert figures["mae"] == pytest.approx(np.abs(values - 50 - 200 * unseen).mean(), abs=1e-2)
    assert figures["mae"] < 30
    assert figures["correlation"] > 0.9
    assert (output.unit, output.name) == ("mm", "length")
    assert output.reference == (reference or pytest.approx(np.median(50 + 200 * bright)))
    card = (tmp_path / "n" / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"mae {figures['mae']:.3f}" in card
    assert "length in mm" in card


def test_survival_puts_patients_in_order_and_its_reference_is_the_median_risk(tmp_path: Path) -> None:
    (images, bright), (others, unseen) = squares(400, 1), squares(150, 2)
    figures = train_network(
        (images, followed(bright, 3)),
        SurvivalObjective(SURVIVAL),
        INPUTS,
        tmp_path / "n",
        validation=(others, followed(unseen, 4)),
        recipe=Recipe(epochs=12),
    )
    hosted = load_classifier(tmp_path / "n")
    kind = output_kind(hosted)
    risks = kind.value_of(hosted.predict(others))
    assert np.corrcoef(risks, unseen)[0, 1] > 0.9
    true = followed(unseen, 4)
    assert figures["c_index"] == pytest.approx(concordance_index(risks, true[:, 0], true[:, 1] > 0), abs=1e-3)
    assert kind.reference == pytest.approx(np.median(kind.value_of(hosted.predict(images))), abs=1.0)
    # The known risk at the horizon: one minus exp(-hazard * time).
    known = 100 * (1 - np.exp(-2 * np.exp(3 * unseen - 1.5)))
    assert np.abs(risks - known).mean() < 15


def test_the_likelihood_is_that_of_discrete_hazards() -> None:
    """By the book, patient by patient: survived intervals count 1 - h, that of the event counts h."""
    objective = SurvivalObjective(SURVIVAL)
    logits = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)), dtype=torch.float32)
    hazards = torch.sigmoid(logits).numpy()
    truth = np.array([[0.5, 1], [1.5, 1], [1.6, 0], [1.2, 0], [9.0, 1]])
    wanted = [
        hazards[0, 0],
        (1 - hazards[1, 0]) * hazards[1, 1],
        (1 - hazards[2, 0]) * (1 - hazards[2, 1]),  # followed beyond the middle of the second interval
        1 - hazards[3, 0],  # not so far
        np.prod(1 - hazards[4]),  # the event came after the last interval
    ]
    assert float(objective.loss(logits, torch.tensor(truth))) == pytest.approx(-np.log(wanted).mean(), rel=1e-5)


def test_the_concordance_index_counts_pairs_as_harrell_does() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        risks, times = rng.integers(0, 5, 12).astype(float), rng.integers(1, 8, 12).astype(float)
        events = rng.random(12) < 0.6
        good = pairs = 0.0
        for a, b in combinations(range(12), 2):
            first, second = (a, b) if (times[a], not events[a]) <= (times[b], not events[b]) else (b, a)
            if not events[first] or (times[first] == times[second] and events[second]):
                continue
            pairs += 1
            good += 1.0 if risks[first] > risks[second] else 0.5 if risks[first] == risks[second] else 0.0
        assert concordance_index(risks, times, events) == pytest.approx(good / pairs if pairs else 0.5)
    assert concordance_index(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([False, False])) == 0.5


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of 24 pictures and a table of numbers."""
    folder = tmp_path / "study"
    folder.mkdir()
    images, bright = squares(24, 7)
    outcomes = followed(bright, 8)
    geometry = Geometry((16, 16, 1), np.eye(4))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "file", "length", "time", "event", "broken", "same"])
        for number, (image, value, (time, event)) in enumerate(zip(images, bright, outcomes, strict=True)):
            write_image(Image(image[..., None] * 100, geometry, f"p{number}", 2), folder / f"p{number}.nii.gz")
            broken = "" if number == 5 else "nan" if number == 6 else "1"
            table.writerow([f"p{number}", f"p{number}.nii.gz", 100 * value, time, int(event), broken, 3])
    return folder


def run(folder: Path, out: Path, *arguments: str):
    app = typer.Typer()
    classifier.register(app)
    options = ["--images", str(folder), "--labels", str(folder / "labels.csv"), "--size", "16,16"]
    return CliRunner().invoke(
        app,
        ["classifier", "train", *options, "--intensity", "0,100", "--epochs", "1", "--out", str(out), *arguments],
    )


def test_the_command_learns_a_value_or_survival(study: Path, tmp_path: Path) -> None:
    result = run(study, tmp_path / "v", "--value", "length", "--unit", "mm", "--measures", "edge length", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)) >= {"mae", "correlation", "grain"}
    card = (tmp_path / "v" / "docs" / "README.md").read_text(encoding="utf-8")
    assert "--value=length --unit=mm --measures='edge length'" in card
    bounds = ("--times", "0,1,2,4", "--horizon", "2", "--time-unit", "years")
    result = run(study, tmp_path / "s", "--survival", "time,event", *bounds)
    assert result.exit_code == 0, result.output
    assert "c_index" in result.output
    assert output_kind(load_classifier(tmp_path / "s")).times == TIMES


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--value", "length"], "unit of the value is missing", "--unit"),
        (["--value", "height", "--unit", "mm"], "has no column 'height'", "length"),
        (["--value", "broken", "--unit", "mm"], "which is no number", "Correct"),
        (["--value", "same", "--unit", "mm"], "all have the same|range", ""),
        (["--value", "length", "--unit", "mm", "--range", "5,1"], "range", "low"),
        (["--value", "length", "--unit", "mm", "--classes", "a,b"], "two things to learn", "one"),
        (["--unit", "mm"], "--unit belongs to --value", "--value"),
        (["--value", "length", "--unit", "mm", "--times", "0,1"], "--times belongs to --survival", "--survival"),
        (["--survival", "time,event"], "--times and --horizon are missing", "--times"),
        (["--survival", "time", "--times", "0,1", "--horizon", "1"], "does not name two columns", "TIME,EVENT"),
        (["--survival", "time,event", "--times", "0,2,1", "--horizon", "1"], "", "times"),
        (["--survival", "time,event", "--times", "0,1,2", "--horizon", "9"], "", "horizon"),
        (["--survival", "time,length", "--times", "0,1,2", "--horizon", "1"], "events that are none", "0 or 1"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(
    study: Path, tmp_path: Path, arguments: list[str], message: str, hint: str
) -> None:
    result = run(study, tmp_path / "n", *arguments)
    assert isinstance(result.exception, OtherwiseError), result.output
    assert any(part in result.exception.detail for part in message.split("|"))
    assert hint in result.exception.hint
    assert "\n" not in result.exception.detail
    assert not (tmp_path / "n").exists()


def test_impossible_times_are_refused_before_the_images_are_read() -> None:
    others = dict.fromkeys(
        ("classes", "value", "unit", "value_range", "time_unit", "measures", "higher_is", "tolerance")
    )
    with pytest.raises(BundleError, match="no boundaries"):
        read_task(survival="time,event", times="0,2,1", horizon=1.0, **others)


def test_too_few_events_are_refused() -> None:
    truth = np.array([[9.0, 1], [1.0, 0], [2.0, 0]])
    with pytest.raises(BundleError, match="0 events up to 4 years"):
        SurvivalObjective(SURVIVAL).check("training", truth)
