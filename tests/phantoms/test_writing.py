"""A folder of phantoms: images for a server, the truth beside them, and both read back as they were."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import typer
from typer.testing import CliRunner

from otherwise.cli import phantoms as command
from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.reading import read_image
from otherwise.phantoms.oblique import all_turned
from otherwise.phantoms.phantom import Phantom
from otherwise.phantoms.prognosis import PrognosisSettings, prognoses
from otherwise.phantoms.writing import read_truth, write_phantoms


@pytest.mark.parametrize("format", ["nifti", "dicom"])
@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "oblique"])
def test_what_is_written_reads_back_equal(tmp_path: Path, phantoms: list[Phantom], format: str, oblique: bool) -> None:
    written = list(all_turned(phantoms[:2], seed=3)) if oblique else phantoms[:2]
    ids = write_phantoms(written, tmp_path / "out", format)

    assert ids == [phantom.image.id for phantom in written]
    for phantom in written:
        back = read_truth(tmp_path / "out", phantom.image.id)

        np.testing.assert_allclose(back.image.array, phantom.image.array, rtol=0, atol=1e-6)
        np.testing.assert_allclose(back.image.geometry.affine, phantom.image.geometry.affine, atol=2e-5)
        assert back.image.dimension == phantom.image.dimension
        np.testing.assert_array_equal(back.counterfactual.array, phantom.counterfactual.array)
        assert (back.label, back.classes, back.decisive) == (phantom.label, phantom.classes, phantom.decisive)
        assert back.attributes == phantom.attributes
        assert back.masks.keys() == phantom.masks.keys()
        assert all(np.array_equal(back.masks[name], phantom.masks[name]) for name in phantom.masks)


def test_the_study_folder_holds_images_only_and_the_table_names_them(tmp_path: Path, phantoms: list[Phantom]) -> None:
    write_phantoms(phantoms[:3], tmp_path)
    images = sorted(f"images/{path.name}" for path in (tmp_path / "images").iterdir())
    with (tmp_path / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    assert images == sorted(row["file"] for row in rows)
    assert [row["id"] for row in rows] == [phantom.image.id for phantom in phantoms[:3]]
    assert [row["label"] for row in rows] == [phantom.label for phantom in phantoms[:3]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "labels.csv", "truth"]
    assert not [path for path in tmp_path.rglob(".*")]


def test_dicom_identifiers_are_unique_and_follow_from_the_seed(tmp_path: Path, twelve_nodules: list[Phantom]) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        write_phantoms(twelve_nodules[:2], folder, "dicom")
    files = sorted((first / "images").rglob("*.dcm"))
    headers = [pydicom.dcmread(file) for file in files]

    assert len({header.SOPInstanceUID for header in headers}) == len(headers) == 48
    assert len({header.SeriesInstanceUID for header in headers}) == 2
    assert {header.Modality for header in headers} == {"CT"}
    assert {float(header.RescaleIntercept) for header in headers} == {-1024.0}
    assert all(file.read_bytes() == (again / file.relative_to(first)).read_bytes() for file in files)


def test_a_mammogram_becomes_one_16_bit_file(tmp_path: Path, twelve_mammograms: list[Phantom]) -> None:
    (id,) = write_phantoms(twelve_mammograms[:1], tmp_path, "dicom")
    header = pydicom.dcmread(tmp_path / "images" / f"{id}.dcm")

    assert (header.Modality, header.BitsStored, header.Rows, header.Columns) == ("MG", 16, 96, 96)
    assert [float(value) for value in header.PixelSpacing] == [0.5, 0.5]
    # Rows run down the image, columns across it.
    pixels = header.pixel_array * float(header.RescaleSlope)
    np.testing.assert_allclose(pixels, twelve_mammograms[0].image.array[0, :, :, 0].T, atol=1e-6)


def test_a_ct_slice_becomes_one_ct_file(tmp_path: Path) -> None:
    (phantom,) = prognoses(7, 1, PrognosisSettings())
    (id,) = write_phantoms([phantom], tmp_path, "dicom")
    header = pydicom.dcmread(tmp_path / "images" / f"{id}.dcm")

    assert (header.Modality, header.SOPClassUID, header.RescaleType) == ("CT", pydicom.uid.CTImageStorage, "HU")
    back = read_image(tmp_path / "images" / f"{id}.dcm")
    np.testing.assert_array_equal(back.array, phantom.image.array)
    np.testing.assert_allclose(back.geometry.affine, phantom.image.geometry.affine, atol=2e-5)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, twelve_mammograms: list[Phantom]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ImageError, match="not empty"):
        write_phantoms(twelve_mammograms[:1], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_id_is_used_once(tmp_path: Path, twelve_mammograms: list[Phantom]) -> None:
    with pytest.raises(ImageError, match="Two phantoms"):
        write_phantoms([twelve_mammograms[0], twelve_mammograms[0]], tmp_path)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, twelve_mammograms: list[Phantom]) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(twelve_mammograms, tmp_path / "new", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("id", ["unknown", "../secret", ""])
def test_truth_that_is_not_there_is_one_line(tmp_path: Path, id: str) -> None:
    with pytest.raises(ImageError) as refused:
        read_truth(tmp_path, id)
    assert refused.value.hint


def test_damaged_truth_is_one_line(tmp_path: Path, twelve_mammograms: list[Phantom]) -> None:
    (id,) = write_phantoms(twelve_mammograms[:1], tmp_path)
    file = tmp_path / "truth" / id / "truth.json"
    printed = json.loads(file.read_text())
    for damage in ("{", "[]", json.dumps({**printed, "label": "purple"}), json.dumps({**printed, "schema": "other/1"})):
        file.write_text(damage)
        with pytest.raises(ImageError):
            read_truth(tmp_path, id)


def run(*arguments: str) -> object:
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return CliRunner().invoke(app, ["phantoms", *arguments])


@pytest.mark.parametrize(("kind", "size"), [("mammogram", "48,64"), ("nodule", "24,24,16")])
def test_the_command_writes_what_it_says(tmp_path: Path, kind: str, size: str) -> None:
    out = tmp_path / "out"
    arguments = [kind, "--out", str(out), "--count", "3", "--seed", "5", "--size", size, "--confound", "1", "--json"]
    result = run(*arguments, "--oblique")

    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["ids"] == [f"{kind}-5-0000{number}" for number in range(3)]
    for id in printed["ids"]:
        truth = read_truth(out, id)
        assert truth.image.geometry.shape[:2] == tuple(int(part) for part in size.split(","))[:2]
        assert truth.attributes["marker"] == (truth.label == "malignant")

    again = tmp_path / "again"
    run(kind, "--out", str(again), "--count", "1", "--seed", "5", "--start", "2", "--size", size, "--confound", "1")
    last = printed["ids"][2]
    one, two = (read_image(folder / "images" / f"{last}.nii.gz") for folder in (out, again))
    assert np.array_equal(one.array, two.array)
    assert not np.allclose(one.geometry.affine, two.geometry.affine)


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    for arguments in (["--size", "96"], ["--size", "96,x"], ["--size", "4,4"]):
        result = run("mammogram", "--out", str(tmp_path / "out"), *arguments)
        assert isinstance(result.exception, OtherwiseError)
        assert result.exception.hint
        assert not (tmp_path / "out").exists()
    assert run("mammogram", "--out", str(tmp_path / "out"), "--confound", "2").exit_code == 2
    assert run("thyroid", "--out", str(tmp_path / "out")).exit_code == 2
