"""What a value follows besides the outcome is found and named; what it does not follow is not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from otherwise.cli import build
from otherwise.evaluation.confounding import Confounding, concordance, find_confounders

PATIENTS = 100


class Ward:
    """Images of patients, half of whom are ill; most of the ill are imaged in bed, and taller frames say nothing."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        images = rng.integers(1, 6, PATIENTS)
        ill = np.arange(PATIENTS) % 2 == 0
        self.patients = [f"patient-{number}" for number, count in enumerate(images) for _ in range(count)]
        self.outcome = np.repeat(100.0 * ill, images)
        self.in_bed = np.where(self.outcome > 0, rng.random(len(self.outcome)) < 0.75, rng.random(images.sum()) < 0.25)
        self.height = rng.normal(0, 1, images.sum())
        self.noise = rng.normal(0, 8, images.sum())

    @property
    def columns(self) -> dict[str, list[str]]:
        return {
            "projection": ["ap" if each else "pa" for each in self.in_bed],
            "height": [f"{each:.4f}" for each in self.height],
            "hospital": ["only one"] * len(self.patients),
        }

    def compared(self, values: np.ndarray, by_patient: bool = False) -> Confounding:
        return find_confounders(values, self.outcome, self.columns, self.patients, by_patient)


def names(found: Confounding) -> list[str]:
    return [each.name for each in found.covariates if each.confounds]


@pytest.mark.parametrize("by_patient", [False, True])
def test_a_value_that_reads_the_projection_is_confounded_by_it_alone(by_patient: bool) -> None:
    ward = Ward(0)
    found = ward.compared(60.0 * ward.in_bed + ward.noise, by_patient)
    assert names(found) == ["projection ap"]
    projection = found.covariates[0]
    assert projection.followed is not None
    assert projection.followed.share > 0.9
    assert found.outcome is not None
    assert 0.6 < found.outcome.share < 0.95, "the projection goes with the outcome"
    within = projection.outcome_within
    if not by_patient:
        assert within is not None
        assert abs(within.share - 0.5) < 0.15, "nothing of the outcome is left at the same projection"


@pytest.mark.parametrize("by_patient", [False, True])
def test_a_value_that_reads_the_disease_follows_the_projection_only_as_far_as_the_outcome_does(
    by_patient: bool,
) -> None:
    ward = Ward(1)
    found = ward.compared(0.4 * ward.outcome + ward.noise, by_patient)
    assert names(found) == []
    (projection,) = (each for each in found.covariates if each.name == "projection ap")
    assert projection.tells_outcome.low > 0.5
    assert projection.followed is not None
    assert projection.followed.share > 0.5
    assert projection.followed_within is not None
    assert abs(projection.followed_within.share - 0.5) < 0.15


def test_a_number_is_named_with_the_direction_that_goes_with_the_outcome() -> None:
    ward = Ward(2)
    ward.height = -ward.outcome / 50 + ward.noise / 8
    found = ward.compared(-ward.height)
    assert "height, lower" in names(found)
    assert all(each.tells_outcome.share >= 0.5 for each in found.covariates)
    assert not any(each.name.startswith("hospital") for each in found.covariates), "it is the same everywhere"


def test_unknown_entries_are_left_out_of_their_own_column_alone() -> None:
    ward = Ward(3)
    columns = ward.columns
    columns["height"][:40] = [""] * 40
    found = find_confounders(ward.noise, ward.outcome, columns, ward.patients)
    images = {each.name.split(",")[0]: each.images for each in found.covariates}
    assert images["height"] == len(ward.patients) - 40
    assert images["projection ap"] == len(ward.patients)


def test_a_concordance_is_the_area_under_the_roc_curve_and_counts_ties_half() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    truth = np.arange(80) % 2
    says = np.round(truth + rng.normal(0, 1, 80), 1)
    found = concordance(says, truth.astype(float), [str(number) for number in range(80)])
    assert found is not None
    assert found.share == pytest.approx(roc_auc_score(truth, says), abs=1e-9)
    assert found.low < found.share < found.high
    alike = concordance(np.zeros(80), truth.astype(float), [str(number) for number in range(80)])
    assert alike is not None
    assert (alike.share, alike.low, alike.high) == pytest.approx((0.5, 0.5, 0.5))


def test_an_interval_draws_patients_and_few_of_them_give_no_figure() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat(np.arange(20) % 2, 10).astype(float)
    says = truth + np.repeat(rng.normal(0, 1, 20), 10)
    whole = concordance(says, truth, [str(number // 10) for number in range(200)])
    apart = concordance(says, truth, [str(number) for number in range(200)])
    assert whole is not None
    assert apart is not None
    assert whole.share == pytest.approx(apart.share)
    assert whole.high - whole.low > 1.5 * (apart.high - apart.low)
    assert concordance(says, truth, [str(number // 50) for number in range(200)]) is None


def write_tables(folder: Path, ward: Ward, values: np.ndarray) -> tuple[Path, Path, Path]:
    first, second, labels = folder / "first.csv", folder / "second.csv", folder / "labels.csv"
    ids = [f"image-{number}" for number in range(len(values))]
    half = len(ids) // 2
    for path, part in ((first, slice(None, half)), (second, slice(half, None))):
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(("id", "path", "value", "unit", "warnings", "error"))
            table.writerows((id, id, value, "%", "", "") for id, value in zip(ids[part], values[part], strict=True))
    with labels.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("id", "file", "patient", "ill", *ward.columns))
        table.writerows(zip(ids, ids, ward.patients, ward.outcome, *ward.columns.values(), strict=True))
    return first, second, labels


def run(*words: object) -> Result:
    return CliRunner().invoke(build(), ["benchmark", "confounders", *map(str, words)])


def test_the_command_names_the_confounder_from_the_tables_of_classify(tmp_path: Path) -> None:
    ward = Ward(6)
    first, second, labels = write_tables(tmp_path, ward, 60.0 * ward.in_bed + ward.noise)
    given = ("--answers", first, "--answers", second, "--labels", labels, "--outcome", "ill")
    said = run(*given, "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    assert "The value is confounded by projection ap." in said.output
    content = json.loads((tmp_path / "out" / "confounders.json").read_text(encoding="utf-8"))
    assert content["image"]["confounders"] == content["patient"]["confounders"] == ["projection ap"]
    assert content["image"]["covariates"][0]["images"] == len(ward.patients)
    only = run(*given, "--covariates", "height", "--out", tmp_path / "height")
    assert "No covariate of the table confounds it." in only.output


def test_tables_that_do_not_fit_are_refused_in_one_line_with_a_hint(tmp_path: Path) -> None:
    ward = Ward(7)
    first, _, labels = write_tables(tmp_path, ward, ward.noise)
    out = ("--out", tmp_path / "out")
    for words in (
        ("--answers", first, "--labels", labels, "--outcome", "cured"),
        ("--answers", first, "--labels", labels, "--outcome", "projection"),
        ("--answers", first, "--labels", labels, "--outcome", "ill", "--covariates", "age"),
        ("--answers", first, "--answers", first, "--labels", labels, "--outcome", "ill"),
        ("--answers", labels, "--labels", labels, "--outcome", "ill"),
        ("--answers", tmp_path / "none.csv", "--labels", labels, "--outcome", "ill"),
    ):
        refused = run(*words, *out)
        assert refused.exit_code != 0, words
        assert refused.exception is not None
        assert len(str(refused.exception).splitlines()) == 1
        assert getattr(refused.exception, "hint", ""), words
