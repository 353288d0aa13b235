"""``otherwise classifier import | check | train`` as typed."""

import csv
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.labelled_images import read_labelled
from otherwise.cli import classifier
from otherwise.errors import OtherwiseError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image


def run(*arguments: object):
    app = typer.Typer()
    classifier.register(app)
    return CliRunner().invoke(app, ["classifier", *map(str, arguments)])


def imported(tmp_path, tiny):
    model = tiny.save_torchscript(tmp_path / "net.ts")
    out = tmp_path / "bundle"
    return run("import", model, "--classes", "a,b", "--size", "8,6", "--intensity", "0,100", "--out", out)


@pytest.fixture
def study(tmp_path):
    """A folder of twelve pictures, half of them bright, and their table."""
    folder = tmp_path / "study"
    folder.mkdir()
    rng = np.random.default_rng(0)
    geometry = Geometry((20, 15, 1), np.diag([0.5, 0.5, 1.0, 1.0]))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "file", "label"])
        for number in range(12):
            label = ("dark", "light")[number % 2]
            array = rng.random((1, 20, 15, 1)) * 40 + 50 * (number % 2)
            write_image(Image(array.astype(np.float32), geometry, f"p{number}", 2), folder / f"p{number}.nii.gz")
            table.writerow([f"p{number}", f"p{number}.nii.gz", label])
    return folder


def test_import_then_check(tmp_path, tiny):
    result = imported(tmp_path, tiny)
    assert result.exit_code == 0, result.output
    assert "activation softmax" in result.output
    check = run("check", tmp_path / "bundle")
    assert check.exit_code == 0
    assert "Can be hosted: yes" in check.output
    assert "intensity 0 to 100" in check.output
    printed = json.loads(run("check", tmp_path / "bundle", "--json").stdout)
    assert printed["hostable"] is True


def test_check_on_a_folder_of_images(tmp_path, tiny, study):
    imported(tmp_path, tiny)
    result = run("check", tmp_path / "bundle", "--images", study)
    assert result.exit_code == 0, result.output
    assert "12 read, of 12 images; left out: 1 not an image." in result.output
    assert "robustness" in result.output
    assert "white noise 0.05: " in result.output
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("check", tmp_path / "bundle", "--images", empty)
    assert result.exit_code == 1
    assert "There is no image in" in result.output


def test_check_of_a_bad_bundle_exits_1(tmp_path, tiny):
    imported(tmp_path, tiny)
    (tmp_path / "bundle" / "models" / "model.ts").write_bytes(b"")
    result = run("check", tmp_path / "bundle")
    assert result.exit_code == 1
    assert "Can be hosted: no. " in result.output


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--size", "8", "2 or 3 numbers"),
        ("--size", "8.5,6", "whole numbers"),
        ("--size", "a,b", "2 or 3 numbers"),
        ("--intensity", "1,0", "window .* is empty"),
        ("--spacing", "1,2,3", "2 numbers"),
        ("--classes", "a", "two or more"),
    ],
)
def test_options_that_cannot_be_understood(tmp_path, tiny, option, value, message):
    options = {"--classes": "a,b", "--size": "8,6", "--intensity": "0,1", "--out": tmp_path / "bundle", option: value}
    model = tiny.save_torchscript(tmp_path / "net.ts")
    result = run("import", model, *[part for pair in options.items() for part in pair])
    assert isinstance(result.exception, OtherwiseError)
    with pytest.raises(OtherwiseError, match=message):
        raise result.exception
    assert not (tmp_path / "bundle").exists()


def test_train_then_check(tmp_path, study):
    out = tmp_path / "trained"
    options = ["--size", "16,16", "--intensity", "0,100", "--epochs", 1, "--validation-share", 0.5, "--out", out]
    result = run("train", "--images", study, "--labels", study / "labels.csv", *options, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["bundle"] == str(out)
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert "--images study --labels study/labels.csv --classes dark,light --size 16,16" in card
    assert "--validation-share 0.5" in card
    assert "--noise 0.2 --blur 1.2 --contrast 0.3 --shift 0.06 --turn 10 --zoom 0.05" in card
    assert "| Robustness | share of" in card
    assert str(tmp_path) not in card
    assert run("check", out, "--images", study).exit_code == 0


def test_the_epoch_may_be_chosen_by_images_of_another_folder(tmp_path, study):
    out = tmp_path / "trained"
    options = ["--size", "16,16", "--intensity", "0,100", "--epochs", 1, "--noise", 0, "--fine", "--out", out]
    result = run("train", "--images", study, "--labels", study / "labels.csv", *options, "--validation", study)
    assert result.exit_code == 0, result.output
    assert "on 12 held-out images" in result.output
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert "12 images, epochs 1" in card
    assert "--noise 0 " in card
    assert "--fine --validation study" in card


def test_another_build_is_trained_for_verification(tmp_path, study):
    from otherwise.blackbox.training.small_networks import NETWORKS
    from otherwise.cli.classifier.train import Network

    assert {network.value for network in Network} == set(NETWORKS)
    out = tmp_path / "verifier"
    options = ["--size", "32,32", "--intensity", "0,100", "--epochs", 1, "--validation-share", 0.5, "--out", out]
    words = ("train", "--images", study, "--labels", study / "labels.csv", *options, "--network", "dense")
    assert run(*words).exit_code == 0
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert "DenseNet" in card
    assert "--network dense" in card
    assert run("check", out, "--images", study).exit_code == 0


def test_a_classifier_is_trained_further(tmp_path, study):
    words = ["train", "--images", study, "--labels", study / "labels.csv", "--intensity", "0,100", "--epochs", 1]
    words += ["--validation-share", 0.5, "--size", "16,16"]
    assert run(*words, "--out", tmp_path / "plain", "--noise", 0).exit_code == 0
    further = run(*words, "--out", tmp_path / "robust", "--start", tmp_path / "plain")
    assert further.exit_code == 0, further.output
    assert "--start plain " in (tmp_path / "robust" / "docs" / "README.md").read_text(encoding="utf-8")
    for option, name, message in (("--network", "dense", "its own network"), ("--value", "label", "not go with")):
        with pytest.raises(OtherwiseError, match=message):
            raise run(*words, "--out", tmp_path / "x", "--start", tmp_path / "plain", option, name).exception
        assert not (tmp_path / "x").exists()


def test_a_table_as_a_spreadsheet_writes_it_is_read(study):
    """Semicolons, a byte order mark, other names of the columns and no ids: what ``images.table`` reads."""
    lines = (study / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split(",")[1:3] for line in lines[1:]]
    text = "\n".join(["Path;Label", *(";".join(row) for row in rows)])
    (study / "sheet.csv").write_text(text, encoding="utf-8-sig")
    data = read_labelled(study, study / "sheet.csv", InputSpec((8, 8), intensity=(0.0, 100.0)))
    assert data.classes == ("dark", "light")
    assert data.groups == tuple(file for file, _ in rows)


def test_labelled_images_are_split_by_patient_and_stay_put(study):
    inputs = InputSpec((8, 8), intensity=(0.0, 100.0))
    data = read_labelled(study, study / "labels.csv", inputs)
    assert data.images.shape == (12, 1, 8, 8)
    assert data.classes == ("dark", "light")
    assert data.images[data.labels == 1].min() > data.images[data.labels == 0].max() - 0.2
    training, held_out = data.split(0.5, seed=1)
    assert set(training.groups) | set(held_out.groups) == set(data.groups)
    assert not set(training.groups) & set(held_out.groups)
    lines = (study / "labels.csv").read_text(encoding="utf-8").splitlines()
    fewer = study / "fewer.csv"
    fewer.write_text("\n".join(lines[:7]), encoding="utf-8")
    assert set(read_labelled(study, fewer, inputs).split(0.5, seed=1)[1].groups) <= set(held_out.groups)
    patients = study / "patients.csv"
    patients.write_text(
        "\n".join([lines[0] + ",patient", *(f"{line},x{k // 3}" for k, line in enumerate(lines[1:]))]), encoding="utf-8"
    )
    training, held_out = read_labelled(study, patients, inputs).split(0.5, seed=0)
    assert len(set(training.groups) | set(held_out.groups)) == 4
    assert not set(training.groups) & set(held_out.groups)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,file\np0,p0.nii.gz\n", "line 2 has no label"),
        ("id,file,label\np0,p0.nii.gz,\n", "line 2 has no label"),
        ("id,file,label\n", "no rows"),
        ("id,file,label\np0,p0.nii.gz,dark\n", "at least two classes"),
    ],
)
def test_broken_tables_are_refused(study, text, message):
    (study / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(OtherwiseError, match=message) as caught:
        read_labelled(study, study / "bad.csv", InputSpec((8, 8)))
    assert "\n" not in str(caught.value)
