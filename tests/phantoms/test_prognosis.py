"""Phantoms of prognosis: the hazard is the declared one, and the counterfactual reaches its target by it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import ImageError
from otherwise.phantoms.hazard import FOLLOW_UP, HORIZON, WEIGHTS, draw_outcome, least_change, risk_of
from otherwise.phantoms.phantom import Phantom
from otherwise.phantoms.prognosis import CUT, PrognosisSettings, prognoses
from otherwise.phantoms.writing import read_truth

PLACES = {
    "spiculation": "place-spiculation",
    "size": "place-size",
    "fibrosis": "place-fibrosis",
    "calcification": "place-calcification",
}


@pytest.fixture(scope="module")
def drawn() -> list[Phantom]:
    return list(prognoses(3, 60, PrognosisSettings()))


def features(seed: int) -> dict[str, float]:
    return dict(zip(WEIGHTS, np.random.default_rng(seed).random(len(WEIGHTS)).tolist(), strict=True))


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_risk_rises_or_falls_steadily_with_each_feature_as_declared(name: str) -> None:
    for seed in range(20):
        risks = [risk_of({**features(seed), name: value}) for value in np.linspace(0, 1, 11)]
        steps = np.diff(risks) * math.copysign(1, WEIGHTS[name])
        assert (steps > 0).all()
        assert 0 < min(risks) < max(risks) < 1


def test_the_least_change_reaches_the_target_and_no_nearer_features_do() -> None:
    rng = np.random.default_rng(0)
    for seed in range(30):
        start, target = features(seed), float(rng.uniform(0.05, 0.9))
        found = least_change(start, target)
        assert risk_of(found) == pytest.approx(target, abs=1e-9)
        assert all(0 <= value <= 1 for value in found.values())
        begin, least = np.array([*start.values()]), np.array([*found.values()])
        for other in rng.random((200, len(WEIGHTS))):
            # Any other features of the same risk, found by going from a random point along the weights.
            same = np.array([*least_change(dict(zip(WEIGHTS, other.tolist(), strict=True)), target).values()])
            assert np.linalg.norm(same - begin) >= np.linalg.norm(least - begin) - 1e-6


@pytest.mark.parametrize("target", [0.001, 0.9999])
def test_a_risk_out_of_reach_is_refused_with_the_range(target: float) -> None:
    with pytest.raises(ImageError, match="No features have a risk") as refused:
        least_change(features(1), target)
    assert "0.01" in refused.value.hint


def test_event_times_follow_the_risk_and_follow_up_ends_at_random() -> None:
    rng, known = np.random.default_rng(4), features(2)
    outcomes = [draw_outcome(rng, known, 0.2) for _ in range(4000)]
    times, events = np.array([o.time for o in outcomes]), np.array([o.event for o in outcomes])
    # Of a constant hazard, the maximum likelihood is events by time at risk.
    hazard = events.sum() / times.sum()
    assert -math.expm1(-hazard * HORIZON) == pytest.approx(risk_of(known), abs=0.03)
    low, high = (HORIZON * each for each in FOLLOW_UP)
    assert times.max() <= high
    assert (times[~events] >= low).all()


def test_a_share_of_phantoms_is_censored() -> None:
    events = [p.outcome.event for p in prognoses(9, 400, PrognosisSettings((32, 32))) if p.outcome]
    assert 0.3 < np.mean(events) < 0.7


def test_a_phantom_and_its_outcome_depend_on_seed_and_number_alone() -> None:
    (fifth,) = prognoses(3, 1, PrognosisSettings(), start=4)
    again = list(prognoses(3, 6, PrognosisSettings()))[4]
    (aimed,) = prognoses(3, 1, PrognosisSettings(target_risk=0.25), start=4)
    assert fifth.image.sha256 == again.image.sha256 == aimed.image.sha256
    assert fifth.outcome == again.outcome
    assert aimed.outcome is not None
    assert fifth.outcome is not None
    assert (aimed.outcome.time, aimed.outcome.target_risk) == (fifth.outcome.time, 0.25)
    assert aimed.counterfactual.sha256 != fifth.counterfactual.sha256


def test_labels_are_cut_by_the_risk(drawn: list[Phantom]) -> None:
    for phantom in drawn:
        assert phantom.outcome is not None
        assert (phantom.label == "high risk") == (phantom.outcome.risk >= CUT)
        assert risk_of(phantom.outcome.target_features) == pytest.approx(phantom.outcome.target_risk, abs=1e-9)
    assert 0.3 < np.mean([phantom.label == "high risk" for phantom in drawn]) < 0.75


def test_places_are_apart_and_show_the_change_of_their_feature(drawn: list[Phantom]) -> None:
    """Where the feature grew, its place is brighter; how much brighter goes with the growth."""
    for phantom in drawn:
        places = [phantom.masks[place] for place in PLACES.values()]
        assert (np.sum(places, axis=0) <= 1).all()
    for name, place in PLACES.items():
        changes, seen = [], []
        for phantom in drawn:
            outcome = phantom.outcome
            assert outcome is not None
            difference = phantom.counterfactual.array.astype(float) - phantom.image.array
            changes.append(outcome.target_features[name] - outcome.features[name])
            seen.append(difference[0][phantom.masks[place]].sum())
        assert np.corrcoef(changes, seen)[0, 1] > 0.6, name


def test_effects_point_to_the_target_and_multiply_the_hazard_to_it(drawn: list[Phantom]) -> None:
    def hazard(risk: float) -> float:
        return math.log(-math.log1p(-risk))

    for phantom in drawn:
        outcome = phantom.outcome
        assert outcome is not None
        effects = outcome.effects()
        assert all(value * (outcome.target_risk - outcome.risk) >= -1e-9 for value in effects.values())
        factors = [hazard(outcome.risk + value) - hazard(outcome.risk) for value in effects.values()]
        assert sum(factors) == pytest.approx(hazard(outcome.target_risk) - hazard(outcome.risk), abs=1e-6)


def test_the_command_writes_a_table_of_outcomes_and_the_truth(tmp_path: Path) -> None:
    out = tmp_path / "p"
    run = CliRunner().invoke(
        build(), ["phantoms", "prognosis", "--count", "3", "--target-risk", "0.2", "--out", str(out)]
    )
    assert run.exit_code == 0, run.output
    with (out / "labels.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["id", "file", "label", "risk", "time", "event", *WEIGHTS]
    for row in rows:
        truth = read_truth(out, row["id"])
        assert truth.outcome is not None
        assert truth.outcome.target_risk == 0.2
        assert float(row["risk"]) == pytest.approx(truth.outcome.risk, abs=1e-5)
        assert (float(row["time"]), row["event"]) == (round(truth.outcome.time, 1), str(int(truth.outcome.event)))


def test_a_target_risk_is_for_kinds_with_an_outcome(tmp_path: Path) -> None:
    for arguments, message in (
        (["mammogram", "--target-risk", "0.2"], "have no risk"),
        (["prognosis", "--target-risk", "1"], "no risk to aim at"),
        (["prognosis", "--size", "8,8"], "too small"),
    ):
        run = CliRunner().invoke(build(), ["phantoms", *arguments, "--count", "1", "--out", str(tmp_path / "x")])
        assert run.exit_code != 0
        assert message in str(run.exception or run.output)
