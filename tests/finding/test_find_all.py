"""``otherwise find --all``, as typed: a table, a page, and how many lesions were found where that is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import ImageError, OtherwiseError
from otherwise.evaluation.lesions import lesions_of, read_truth
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom
from support.patch_models import save_middle

PLACES = {"p1/left": [(26, 40)], "p1/right": [(50, 20), (20, 30)], "p2/left": []}
AFFINE = np.diag([-0.5, -0.5, 1.0, 1.0])


def run(*words: object):
    return CliRunner().invoke(build(), [str(word) for word in words])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    words = ("classifier", "import", save_middle(folder / "middle.ts"), "--classes", "calm,alarm", "--size", "8,8")
    more = ("--intensity", "0,100", "--spacing", "1,1", "--find", "alarm", "--foreground", "1")
    assert run(*words, *more, "--out", folder / "patches").exit_code == 0
    return folder / "patches"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Views of two patients, bright boxes in some of them, and a mask of each."""
    folder = tmp_path_factory.mktemp("views")
    for name, places in PLACES.items():
        mask = np.zeros((1, 80, 60, 1), np.uint8)
        array = np.random.default_rng(0).uniform(9, 11, mask.shape).astype(np.float32)
        for i, j in places:
            array[0, i - 6 : i + 6, j - 6 : j + 6], mask[0, i - 6 : i + 6, j - 6 : j + 6] = 90, 1
        geometry = Geometry((80, 60, 1), AFFINE)
        write_image(Image(array, geometry, "x", 2), folder / "images" / f"{name}.nrrd")
        write_image(Image(mask, geometry, "x", 2), folder / "masks" / f"{name}.nrrd")
    return folder


def test_every_image_is_searched_with_one_start_up(bundle: Path, images: Path, tmp_path: Path) -> None:
    words = ("find", images / "images", "--all", "--classifier", bundle, "--out", tmp_path / "out")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "3 images: 3 searched, 0 failed" in result.output
    with (tmp_path / "out" / "finds.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    first = {row["path"]: row for row in rows if row["rank"] == "1"}
    assert set(first) == {f"{name}.nrrd" for name in PLACES}
    one = json.loads(run("find", images / "images/p1/left.nrrd", "--classifier", bundle, "--json").stdout)["finds"][0]
    left = first["p1/left.nrrd"]
    assert float(left["probability"]) == pytest.approx(one["probability"])
    assert [float(left[axis]) for axis in "ras"] == pytest.approx(one["centre_ras"])
    page = (tmp_path / "out" / "finds.html").read_text()
    assert page.count("data:image/png") == 3
    asked = run(
        "find", images / "images/p1/left.nrrd", "--classifier", bundle, "--json", "--centre", *one["centre_ras"]
    )
    again = json.loads(asked.stdout)["finds"][0]
    assert again["probability"] == pytest.approx(one["probability"], abs=1e-6), "the same patch, asked about again"
    assert run(*words).exit_code != 0, "nothing is overwritten"


def test_an_image_that_cannot_be_searched_says_why(bundle: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.nrrd").write_bytes((images / "images/p1/left.nrrd").read_bytes())
    small = Image(np.random.default_rng(0).random((1, 6, 6, 1), np.float32), Geometry((6, 6, 1), np.eye(4)), "s", 2)
    write_image(small, tmp_path / "in" / "small.nrrd")
    result = run("find", tmp_path / "in", "--all", "--classifier", bundle, "--out", tmp_path / "out")
    assert result.exit_code == 3
    with (tmp_path / "out" / "finds.csv").open() as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    assert "smaller than the patches" in rows["small.nrrd"]["error"]


def without_spacing(path: Path) -> Path:
    """Write a view that does not say how large its pixels are, as ``path`` is named."""
    pixels = np.full((60, 80), 10, np.uint8)
    pixels[20:40, 30:50] = 90
    if path.suffix == ".dcm":
        image = Image(pixels.T[None, :, :, None].astype(np.float32) / 100, Geometry((80, 60, 1), AFFINE), "x", 2)
        data = pydicom.dcmread(write_dicom(image, path))
        for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
            delattr(data, name)
        data.RescaleSlope = 100 * float(data.RescaleSlope)
        data.save_as(path)
    elif path.suffix == ".nrrd":
        write_image(read_image(without_spacing(path.with_suffix(".png"))), path)
        path.with_suffix(".png").unlink()
    else:
        Picture.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", ["view.dcm", "view.png", "view.tif", "view.nrrd"])
def test_an_image_of_unknown_spacing_says_so_wherever_it_is_searched(bundle: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    image = without_spacing(tmp_path / "in" / name)
    sentence = "does not say how large its pixels are; 1 mm was assumed"
    plain = CliRunner().invoke(build(), ["find", str(image), "--classifier", str(bundle)])
    assert plain.exit_code == 0, plain.stderr
    assert sentence in " ".join(plain.stderr.split())
    written = json.loads(run("find", image, "--classifier", bundle, "--json", "--out", tmp_path / "one").stdout)
    assert [warning["code"] for warning in written["warnings"]] == ["spacing-assumed"]
    assert json.loads((tmp_path / "one" / "finds.json").read_text())["warnings"] == written["warnings"]
    assert sentence in (tmp_path / "one" / "finds.html").read_text()

    result = run("find", tmp_path / "in", "--all", "--classifier", bundle, "--out", tmp_path / "all")
    assert "Warnings for 1, such as" in " ".join(result.output.split())
    with (tmp_path / "all" / "finds.csv").open() as stream:
        assert sentence in next(csv.DictReader(stream))["warnings"]
    assert sentence in (tmp_path / "all" / "finds.html").read_text()


@pytest.mark.parametrize("kind", ["masks", "points", "boxes", "voxels"])
def test_what_is_known_of_lesions_is_measured(bundle: Path, images: Path, tmp_path: Path, kind: str) -> None:
    truth = images / "masks"
    if kind != "masks":
        truth = tmp_path / "truth.csv"
        heads = {"points": "r,a,s", "boxes": "i_low,j_low,i_high,j_high", "voxels": "i,j"}
        lines = [f"file,patient,{heads[kind]}"]
        for name, places in PLACES.items():
            for i, j in places:
                ras = AFFINE @ (i - 0.5, j - 0.5, 0, 1)
                cells = {
                    "points": ras[:3],
                    "boxes": (i - 6, j - 6, i + 5, j + 5),
                    "voxels": (i - 0.5, j - 0.5),
                }[kind]
                lines.append(f"{name}.nrrd,{name[:2]},{','.join(map(str, cells))}")
        truth.write_text("\n".join(lines) + "\n")
    found, _ = read_truth(truth, list_images(images / "images").images)
    assert sorted(len(each) for each in found.values()) == [0, 1, 2]
    words = ("find", images / "images", "--all", "--classifier", bundle, "--truth", truth, "--out", tmp_path / "out")
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "out" / "froc.json").read_text())
    assert len(figures) == 2, "beside a plain sliding window"
    for by_criterion in figures.values():
        assert len(by_criterion) == (2 if kind in ("masks", "boxes") else 1), "LUNA's needs the size of lesions"
        for counts in by_criterion.values():
            assert (counts["images"], counts["patients"], counts["lesions"]) == (3, 2, 3)
            at = counts["at_false_finds"]["1"]
            assert at["sensitivity"] == 1.0
            assert 0 <= at["low"] <= at["high"] <= 1


def test_a_truth_of_other_images_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("file,i,j\nelsewhere.nrrd,3,4\n")
    with pytest.raises(ImageError, match="names none of the images"):
        read_truth(tmp_path / "truth.csv", list_images(images / "images").images)


def test_pieces_of_a_mask_are_lesions_of_their_size() -> None:
    mask = np.zeros((40, 40, 1), bool)
    mask[5:15, 5:15] = mask[30:36, 20:30] = mask[0, 0] = True
    first, second = lesions_of(mask, Geometry((40, 40, 1), np.diag([0.5, 0.5, 1, 1])))
    assert first.radius == pytest.approx((25 / np.pi) ** 0.5)
    assert first.centre_ras == pytest.approx((4.75, 4.75, 0))
    assert second.radius == pytest.approx((15 / np.pi) ** 0.5)


@pytest.mark.parametrize("options", [("--truth", "x.csv"), ("--workers", "2")])
def test_options_for_many_images_need_all(bundle: Path, images: Path, options: tuple[str, str]) -> None:
    result = run("find", images / "images/p1/left.nrrd", "--classifier", bundle, *options)
    assert isinstance(result.exception, OtherwiseError)
    assert "are for many images" in str(result.exception)
