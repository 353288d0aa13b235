"""The guides as a reader follows them: their commands, in their order, on phantoms in the place of one's own images.

Models are trained for seconds instead of an hour. Servers are in ``test_guides_of_servers``, archives in
``dicomweb/test_guide``, benchmarks in ``test_guides_of_benchmarks``.
"""

from __future__ import annotations

import csv
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from support.typed_commands import type_in, typed_command
from support.value_models import SquareHazards, SquareValue, save

pytestmark = pytest.mark.slow

SHORTER = {"--minutes": "0.2", "--epochs": "1", "--workers": "2"}
"""Options that would take long, and what they are here."""
OWN = {"DIR": "own", "image.nii.gz": "own/prognosis-5-00000.nii.gz"}
OWN_PAIR = OWN | {"CLASSIFIER": "my_classifier", "AGENT": "my_agent"}
PATCHES = {
    "mammogram.dcm": "whole/images/whole-mammogram-5-00000.nii.gz",
    "images": "whole/images",
    "my_patches": "mammogram_patch_classifier",
    "my_agent": "mammogram_patch_agent",
}
STEPS: tuple[tuple[str, dict[str, str], str | None], ...] = (
    ("otherwise classifier train --images DIR --labels DIR/labels.csv --size 64,64", OWN, "my_classifier"),
    ("otherwise classifier check my_classifier --images DIR", OWN, None),
    ("otherwise classify DIR --classifier my_classifier --out answers.csv", OWN, "answers.csv"),
    ("otherwise classifier check my_classifier --images DIR --expected answers.csv", OWN, None),
    ("otherwise train agent --classifier my_classifier --images DIR --out my_agent --minutes 60", OWN, "my_agent"),
    ("otherwise explain image.nii.gz --classifier my_classifier --agent my_agent --out", OWN, "explanation"),
    ("otherwise explain image.nii.gz --classifier my_classifier --agent my_agent --noise 0.05", OWN, "under_noise"),
    ("otherwise explain image.nii.gz --classifier my_classifier --agent my_agent --edit shape", OWN, "by_shape"),
    ("otherwise explain --all archive --classifier CLASSIFIER --agent AGENT --out results", OWN_PAIR, "results"),
    ("otherwise explain --all archive --classifier CLASSIFIER --agent AGENT --out results --w", OWN_PAIR, "results"),
    ("otherwise classifier train --images DIR --labels DIR/labels.csv --value circumference_mm", OWN, "heads"),
    ("otherwise classifier train --images DIR --labels DIR/labels.csv --surv", OWN | {"prognosis": "risks"}, "risks"),
    ("otherwise classifier import model.onnx --classes benign,malignant", {"my_classifier": "hosted"}, "hosted"),
    ("otherwise classifier import age.ts --output value", {}, "age"),
    ("otherwise classifier check age --images DIR", OWN, None),
    ("otherwise classifier import net.ts --output survival", {}, "prognosis"),
    ("otherwise classifier import model.onnx --classes normal", {"model.onnx": "patches.onnx"}, "my_patches"),
    ("otherwise find mammogram.dcm --classifier my_patches --out finds", PATCHES, "finds"),
    ("otherwise explain mammogram.dcm", PATCHES | {"explanation": "of_find"}, "of_find"),
    ("otherwise find images --all --classifier my_patches --out finds", PATCHES | {"finds": "all_finds"}, "all_finds"),
    ("otherwise find images --all --classifier my_patches --truth masks --out measured", PATCHES, "measured"),
)  # fmt: skip
"""The beginning of a command of a page, what its placeholders stand for, and what it makes."""


def export(path: Path, size: int, classes: int) -> None:
    """Write a network of small weights as ONNX."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, classes),
    )  # fmt: skip
    torch.onnx.export(net.eval(), (torch.zeros(1, 1, size, size),), str(path), dynamo=False)


def own_images(folder: Path) -> None:
    """Write 60 images and a table with a class, a number and an outcome of each, as the guide describes them."""
    type_in(shlex.split("phantoms prognosis --count 60 --seed 5 --out drawn"))
    folder.mkdir()
    for file in Path("drawn/images").iterdir():
        shutil.copy(file, folder)
    with Path("drawn/labels.csv").open() as table, (folder / "labels.csv").open("w") as written:
        rows = list(csv.DictReader(table))
        out = csv.DictWriter(written, ["file", "label", "circumference_mm", "time", "event"])
        out.writeheader()
        for row in rows:
            own = {"file": Path(row["file"]).name, "circumference_mm": 100 + 50 * float(row["size"])}
            out.writerow(own | {key: row[key] for key in ("label", "time", "event")})


def test_the_guides_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_images(Path("own"))
    type_in(shlex.split("phantoms whole-mammogram --count 2 --seed 5 --out whole"))
    Path("masks").mkdir()
    for folder in Path("whole/truth").iterdir():
        shutil.copy(folder / "lesions.nii.gz", f"masks/{folder.name}.nii.gz")
    Path("archive").mkdir()
    for file in sorted(Path("own").glob("*.nii.gz"))[:2]:
        shutil.copy(file, "archive")
    export(Path("model.onnx"), 224, 2)
    export(Path("patches.onnx"), 96, 3)
    save(SquareValue(), Path("age.ts"), (256, 256))
    save(SquareHazards(), Path("net.ts"), (64, 64))
    for begin, meant, made in STEPS:
        words = typed_command(begin, meant, SHORTER)
        if made == "results" and Path(made).exists():
            shutil.rmtree(made)
        type_in(words)
        assert made is None or Path(made).exists(), f"{shlex.join(words)}: {made} is missing"
