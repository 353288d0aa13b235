"""From a bare model of patches over its bundle to ``otherwise find``, as typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import PatchSpec
from otherwise.cli import build
from otherwise.errors import ClassifierError, ImageError, OtherwiseError
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from support.patch_models import save_middle


def run(*words: object):
    return CliRunner().invoke(build(), [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    model = save_middle(tmp_path / "middle.ts")
    out = tmp_path / "patches"
    words = ("classifier", "import", model, "--classes", "calm,alarm", "--size", "8,8", "--intensity", "0,100")
    assert run(*words, "--spacing", "1,1", "--find", "alarm", "--foreground", "1", "--out", out).exit_code == 0
    return out


@pytest.fixture
def image(tmp_path: Path) -> Path:
    array = np.full((1, 80, 60, 1), 10, np.float32)
    array[0, 50:62, 20:32] = 90
    affine = np.diag([-0.5, -0.5, 1.0, 1.0])
    affine[:3, 3] = [7, 8, 9]
    return write_image(Image(array, Geometry((80, 60, 1), affine), "whole", 2), tmp_path / "whole.nrrd")


def test_a_bare_model_finds_patches(bundle: Path, image: Path) -> None:
    spec = load_classifier(bundle).inputs
    assert spec.patches == PatchSpec(("alarm",), foreground=1.0)
    answer = json.loads(run("find", image, "--classifier", bundle, "--json").stdout)
    assert answer["image"] == "whole"
    first = answer["finds"][0]
    assert first["probability"] > 0.9
    assert first["centre_ras"] == pytest.approx([7 - 0.5 * 55.5, 8 - 0.5 * 25.5, 9], abs=4)
    assert all(a <= at < b for a, at, b in zip(first["low"], (55, 25, 0), first["high"], strict=True))
    table = run("find", image, "--classifier", bundle, "--most", 2).stdout
    assert "alarm" in table
    assert "Centre (RAS, mm)" in table


def test_a_page_of_finds_is_written_once(bundle: Path, image: Path, tmp_path: Path) -> None:
    words = ("find", image, "--classifier", bundle, "--out", tmp_path / "finds")
    assert "finds.html" in run(*words).stdout
    assert (tmp_path / "finds" / "finds.html").is_file()
    with pytest.raises(OtherwiseError, match="already something"):
        run(*words)


def test_a_classifier_of_whole_images_finds_nothing(image: Path) -> None:
    with pytest.raises(ClassifierError, match="whole images"):
        run("find", image, "--classifier", "mammogram_classifier")


def test_foreground_without_find_is_refused(tmp_path: Path) -> None:
    words = ("classifier", "import", tmp_path / "no.ts", "--classes", "a,b", "--size", "8,8", "--intensity", "0,1")
    with pytest.raises(OtherwiseError, match="--foreground is for classifiers of patches"):
        run(*words, "--foreground", "1", "--out", tmp_path / "out")


def test_a_find_is_explained_as_typed(bundle: Path, image: Path, tmp_path: Path) -> None:
    from otherwise.agent.bundle import write_agent
    from otherwise.agent.networks import DiffusionAutoencoder
    from support.square_models import architecture

    torch.manual_seed(0)
    agent = tmp_path / "agent"
    model = DiffusionAutoencoder(architecture((8, 8)))
    write_agent(agent, model, load_classifier(bundle), name="tiny", card="tiny", figures={}, replace=False)
    out = tmp_path / "explanation"
    words = ("explain", image, "--classifier", bundle, "--agent", agent, "--out", out)
    assert run(*words).exit_code == 0
    place = json.loads((out / "explanation.json").read_text())["place"]
    assert place["shape"] == [80, 60, 1]
    assert all(a <= at < b for a, at, b in zip(place["low"], (55, 25, 0), place["high"], strict=True))
    with pytest.raises(ImageError, match="no number 900"):
        run(*words[:-1], tmp_path / "other", "--find", 900)
    assert run(*words[:-1], tmp_path / "chosen", "--centre", -16, -3, 9).exit_code == 0
    chosen = json.loads((tmp_path / "chosen" / "explanation.json").read_text())["place"]
    assert all(a <= at < b for a, at, b in zip(chosen["low"], (46, 22, 0), chosen["high"], strict=True))
    with pytest.raises(ImageError, match="outside"):
        run(*words[:-1], tmp_path / "nowhere", "--centre", 100, 0, 0)


def test_views_of_a_folder_are_listed_and_one_of_them_is_searched(bundle: Path, image: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    from otherwise.images.reading import read_image

    (tmp_path / "views").mkdir()
    for name, level in (("one", 1.0), ("two", 0.5)):
        pixels = sitk.GetImageFromArray((level * read_image(image).array[0, :, :, 0].T).astype(np.uint16))
        pixels.SetSpacing((0.5, 0.5))
        sitk.WriteImage(pixels, str(tmp_path / "views" / f"{name}.dcm"))
    listed = json.loads(run("studies", tmp_path / "views", "--json").stdout)["studies"]
    images = {found["files"][0]: found["id"] for study in listed for found in study["images"]}
    assert set(images) == {"one.dcm", "two.dcm"}
    assert images["two.dcm"] in run("studies", tmp_path / "views").stdout
    with pytest.raises(ImageError, match="series"):
        run("find", tmp_path / "views", "--classifier", bundle)
    words = ("find", tmp_path / "views", "--classifier", bundle, "--json", "--image")
    bright, dim = (json.loads(run(*words, images[name]).stdout)["finds"][0] for name in ("one.dcm", "two.dcm"))
    assert bright["probability"] > 0.9 > dim["probability"]


def test_sequences_are_combined_as_typed(image: Path, tmp_path: Path) -> None:
    assert "2 channels" in run("combine", image, image, "--out", tmp_path / "both.nrrd").stdout
    from otherwise.images.reading import read_image

    assert read_image(tmp_path / "both.nrrd").array.shape == (2, 80, 60, 1)


def test_a_volume_is_seen_through_where_somebody_says_so(bundle: Path, tmp_path: Path) -> None:
    array = np.full((1, 80, 60, 5), 10, np.float32)
    array[0, 50:62, 20:32, 1] = 90
    volume = Image(array, Geometry((80, 60, 5), np.diag([0.5, 0.5, 2.0, 1.0])), "volume")
    path = write_image(volume, tmp_path / "volume.nrrd")
    with pytest.raises(ImageError, match="slice"):
        run("find", path, "--classifier", bundle)
    words = ("find", path, "--classifier", bundle, "--json")
    probability = {
        tuple(more): json.loads(run(*words, *more).stdout)["finds"][0]["probability"]
        for more in (("--project", "max"), ("--slice", "1"))
    }
    assert min(probability.values()) > 0.9


def test_a_check_asks_about_what_is_found_in_whole_images(bundle: Path, image: Path, tmp_path: Path) -> None:
    """The bright place is not in the middle; a check that looked there only would hear one and the same answer."""
    folder = tmp_path / "images"
    for number in range(6):
        array = read_image(image).array + np.float32(number)
        write_image(read_image(image).with_array(array), folder / f"{number}.nrrd")
    report = json.loads(run("classifier", "check", bundle, "--images", folder, "--json").stdout)
    findings = {finding["topic"]: finding for finding in report["findings"]}
    assert re.search(r"^6 read, \d+ patches of them", findings["images"]["text"])
    assert findings["choices"]["state"] == "ok", findings["choices"]["text"]
    assert all(int(count) >= 6 for count in re.findall(r"(?:calm|alarm) (\d+)", findings["choices"]["text"]))
