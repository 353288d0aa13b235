"""Radiographs are dealt into folds by patient, with what may confound them; the example names the confounder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.datasets.covid_hannover import deal_folds, radiographs
from otherwise.errors import ImageError
from support.script_file import load_script

COLUMNS = ("file", "patient_id", "sex", "modality", "projection", "admission_offset_days", "icu_ever")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 24 patients, half in intensive care; those in bed have a cable across their image."""
    root, rng = tmp_path / "hannover", np.random.default_rng(0)
    (root / "image").mkdir(parents=True)
    with (root / "patients.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for patient in range(24):
            ill = patient % 2
            in_bed = ill if patient % 8 < 6 else 1 - ill
            for number in range(1 + patient % 3):
                height, width = (60, 72) if in_bed else (72, 60)
                grey = rng.integers(60, 120, (height, width)).astype(np.uint8)
                if in_bed:
                    grey[:, width // 2 - 6 : width // 2 + 6] = 250
                file = f"{patient:02d}-{number}.png"
                Picture.fromarray(grey).save(root / "image" / file)
                projection, device = ("ap", "CR") if in_bed else ("pa", "DX")
                table.writerow((file, f"p{patient:02d}", "fm"[patient % 3 % 2], device, projection, -number, ill))
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_patient_is_in_one_fold_and_each_fold_has_both_outcomes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = CliRunner().invoke(build(), ["prepare", "covid", "--path", str(folder), "--out", str(out), "--folds", "3"])
    assert said.exit_code == 0, said.output
    rows = read(out / "labels.csv")
    assert len(rows) == len(read(folder / "patients.csv"))
    for fold in "123":
        test, train = read(out / f"test-{fold}.csv"), read(out / f"train-{fold}.csv")
        assert {row["fold"] for row in test} == {fold}
        assert not {row["patient"] for row in test} & {row["patient"] for row in train}
        assert sorted(row["id"] for row in (*test, *train)) == sorted(row["id"] for row in rows)
        assert {row["intensive_care"] for row in test} == {"0", "100"}
    assert all((out / row["file"]).is_file() for row in rows)


def test_covariates_stand_beside_the_outcome(folder: Path) -> None:
    for each in radiographs(folder):
        in_bed = each.covariates["projection"] == "ap"
        assert each.covariates["device"] == ("CR" if in_bed else "DX")
        assert (float(each.covariates["width_to_height"]) > 1) == in_bed
        assert float(each.covariates["day"]) == int(each.image.id[-1])
        assert int(each.covariates["images_of_patient"]) == 1 + int(each.patient[1:]) % 3


def test_folds_are_about_as_large() -> None:
    patients = {f"p{number}": (number % 4 == 0, 1 + number % 7) for number in range(53)}
    folds = deal_folds(patients, 5)
    for ill in (False, True):
        counts = np.bincount([fold for name, fold in folds.items() if patients[name][0] == ill], minlength=6)[1:]
        assert np.ptp(counts) <= 1
    images = [sum(patients[name][1] for name in folds if folds[name] == fold) for fold in range(1, 6)]
    assert max(images) < 1.5 * min(images)


def test_a_table_without_a_column_is_refused(folder: Path) -> None:
    text = (folder / "patients.csv").read_text(encoding="utf-8")
    (folder / "patients.csv").write_text(text.replace("icu_ever", "ward"), encoding="utf-8")
    with pytest.raises(ImageError, match="icu_ever"):
        list(radiographs(folder))


@pytest.mark.slow
def test_the_example_names_the_projection(folder: Path, tmp_path: Path) -> None:
    example = load_script(Path(__file__).parents[2] / "examples" / "confounded_prognosis.py")
    example.main(folder, tmp_path / "out", folds=2, epochs=8)
    content = json.loads((tmp_path / "out" / "confounders" / "confounders.json").read_text(encoding="utf-8"))
    assert "projection ap" in {each["name"] for each in content["image"]["covariates"]}
    (projection,) = (each for each in content["image"]["covariates"] if each["name"] == "projection ap")
    assert projection["followed"]["share"] > 0.8
