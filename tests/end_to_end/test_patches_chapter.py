"""The chapter on whole images, as typed, on whole phantoms in a layout of patients and views."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.images.image import Image
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.phantoms.whole_mammogram import WholeMammogramSettings, whole_mammograms

CHAPTER = Path(__file__).parents[2] / "docs" / "guides" / "patches.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MEANT = {"my_patches": "mammogram_patch_classifier", "my_agent": "mammogram_patch_agent"}
"""What the chapter's placeholders stand for here."""
VIEWS = ("left/cc", "left/mlo", "right/cc", "right/mlo")
SETTINGS = WholeMammogramSettings(size=(600, 750), spacing=0.25)


def commands() -> list[str]:
    text = "\n".join(BLOCK.findall(CHAPTER.read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four views of one patient and two of another, each with a mask, and one of them as DICOM."""
    folder = tmp_path_factory.mktemp("chapter")
    for number, phantom in enumerate(whole_mammograms(7, 6, SETTINGS)):
        name = f"patient-{1 + number // 4}/{VIEWS[number % 4]}.nrrd"
        write_image(phantom.image, folder / "images" / name)
        mask = (phantom.labels[None] > 0).astype(np.uint8)
        write_image(Image(mask, phantom.image.geometry, "mask", 2), folder / "masks" / name)
        if number == 0:
            write_dicom(phantom.image, folder / "mammogram.dcm")
    return folder


@pytest.fixture
def type_(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Type a command of the chapter where the images are."""
    monkeypatch.chdir(work)

    def typed(command: str) -> str:
        assert command in commands(), "the chapter says it otherwise"
        words = [MEANT.get(word, word) for word in shlex.split(command)[1:]]
        done = CliRunner().invoke(build(), words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return typed


def test_one_image_is_searched(work: Path, type_: Callable[[str], str]) -> None:
    assert "malignant" in type_("otherwise find mammogram.dcm --classifier my_patches --out finds")
    content = json.loads((work / "finds" / "finds.json").read_text())
    assert content["finds"][0]["rank"] == 1
    assert content["warnings"] == []


def test_all_images_are_searched_and_measured_by_patient(work: Path, type_: Callable[[str], str]) -> None:
    output = type_("otherwise find images --all --classifier my_patches --truth masks --out measured")
    assert "6 images: 6 searched, 0 failed" in output
    with (work / "measured" / "finds.csv").open() as stream:
        assert len({row["path"] for row in csv.DictReader(stream)}) == 6
    figures = json.loads((work / "measured" / "froc.json").read_text())["coarse and fine"]
    inside = figures["lesion's centre inside the box"]
    assert inside["images"] == 6
    assert inside["at_false_finds"]["4"]["sensitivity"] > 0.5


@pytest.mark.slow
def test_a_find_is_explained(work: Path, type_: Callable[[str], str]) -> None:
    command = "otherwise explain mammogram.dcm --classifier my_patches --agent my_agent --find 1 --out explanation"
    assert "by its most suspicious patch" in " ".join(type_(command).split())
    assert json.loads((work / "explanation" / "explanation.json").read_text())["place"]["before"]
