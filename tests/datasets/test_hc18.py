"""Fetal heads are written in millimetres, split by subject; copies are cut and magnified with their circumference."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from typer.testing import CliRunner

from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import output_kind
from otherwise.cli import build
from otherwise.datasets.hc18 import MAGNIFICATION, heads, split_of, varied, write_heads
from otherwise.errors import ImageError
from otherwise.evaluation.benchmark.values.ellipse import head_circumference, perimeter
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from support.script_file import load_script

PIXEL = 0.5


def head(width: float, height: float, turn: float, seed: int, size: tuple[int, int] = (260, 200)):
    """Grey values ``(rows, columns)`` and mask of a skull with semi-axes in millimetres, in speckle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[1], : size[0]] * PIXEL
    right, down = x - 62 - 6 * rng.random(), y - 48 - 4 * rng.random()
    along, across = right * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - right * np.sin(turn)
    radius = np.hypot(along / width, across / height)
    grey = 60 * rng.random(x.shape) + 170 * np.exp(-(((radius - 1) * min(width, height)) ** 2) / 1.2)
    return grey.clip(0, 255).astype(np.uint8), radius <= 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "hc18"
    for part in ("image", "mask"):
        (root / part).mkdir(parents=True)
    with (root / "measurements.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "subject", "pixel_size_mm", "head_circumference_mm"))
        for number in range(24):
            width, height = 30 + number / 2, 24 + number / 3
            grey, mask = head(width, height, 0.3, number)
            file = f"{number:03d}_HC.png"
            Picture.fromarray(grey).save(root / "image" / file)
            Picture.fromarray((255 * mask).astype(np.uint8)).save(root / "mask" / file)
            table.writerow((file, f"{number // 2:03d}", PIXEL, f"{perimeter(width, height):.2f}"))
    return root


def rows_of(out: Path, split: str) -> list[dict[str, str]]:
    with (out / split / "labels.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_image_is_written_once_in_the_split_of_its_subject(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(build(), ["prepare", "hc18", "--path", str(folder), "--out", str(out), "--copies", "3"])
    assert result.exit_code == 0, result.output
    rows = {split: rows_of(out, split) for split in ("train", "validation", "test")}
    subjects = {split: {row["patient"] for row in each} for split, each in rows.items()}
    assert len(set.union(*subjects.values())) == sum(map(len, subjects.values())) == 12
    assert all(split_of(subject) == split for split, each in subjects.items() for subject in each)
    assert len(rows["train"]) // 3 + len(rows["validation"]) + len(rows["test"]) == 24
    for row in rows["train"]:
        image = read_image(out / "train" / row["file"])
        assert image.dimension == 2
        low, high = (PIXEL * each for each in MAGNIFICATION)
        assert low <= image.geometry.spacing[0] <= high


def test_copies_hold_the_whole_head_and_their_circumference_grows_with_them(folder: Path) -> None:
    found = next(heads(folder, "train"))
    first, *copies = varied(found, 6)
    assert first is found
    again = [each.image.sha256 for each in varied(found, 6)]
    assert again == [each.image.sha256 for each in (first, *copies)]
    for copy in copies:
        factor = copy.image.geometry.spacing[0] / PIXEL
        assert copy.circumference == pytest.approx(factor * found.circumference)
        assert copy.mask.sum() == found.mask.sum()
        assert copy.mask.shape == copy.image.geometry.shape
    assert len({copy.image.geometry.shape for copy in copies}) > 1


def test_damaged_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ImageError, match=r"measurements\.csv"):
        list(heads(tmp_path, "train"))
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ImageError, match="not empty"):
        write_heads(folder, occupied)
    (folder / "measurements.csv").write_text("file,subject\na.png,1\n", encoding="utf-8")
    with pytest.raises(ImageError, match="lacks"):
        list(heads(folder, "train"))


@pytest.mark.parametrize("seed", range(4))
def test_an_ellipse_measures_a_head_that_grew_or_shrank(seed: int) -> None:
    """The mask is that of the original; the skull was redrawn larger or smaller."""
    rng = np.random.default_rng(seed)
    width, height, turn = rng.uniform(34, 44), rng.uniform(28, 36), rng.uniform(0, np.pi)
    _, mask = head(width, height, turn, seed)
    for factor in (0.88, 1.0, 1.12):
        grey, _ = head(width * factor, height * factor, turn, seed)
        geometry = Geometry((grey.shape[1], grey.shape[0], 1), np.diag([PIXEL, PIXEL, 1, 1.0]))
        image = Image(grey.T[None, ..., None], geometry, "head", 2)
        found = head_circumference(image, mask.T[..., None])
        assert found is not None
        # The drawn line is the outline itself; half of a skull is added for real ones.
        assert found == pytest.approx(perimeter(width * factor, height * factor) + 6, abs=4)


def test_the_perimeter_is_that_of_a_circle_and_of_a_line() -> None:
    assert perimeter(5, 5) == pytest.approx(10 * np.pi)
    assert perimeter(5, 1e-9) == pytest.approx(20, rel=1e-3)


@pytest.fixture(scope="module")
def example():
    """The example of a regression of one's own."""
    return load_script(Path(__file__).parents[2] / "examples" / "head_circumference.py")


@pytest.mark.parametrize("seed", range(4))
def test_the_example_measures_a_mark(example, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, turn = rng.uniform(34, 55), rng.uniform(0, np.pi)
    height = rng.uniform(0.74, 0.82) * width
    edge, spacing = example.SPEC.size[0], example.SPACING
    i, j = (np.mgrid[:edge, :edge] - edge / 2) * spacing
    along, across = i * np.cos(turn) + (j - 5) * np.sin(turn), (j - 5) * np.cos(turn) - i * np.sin(turn)
    mark = torch.from_numpy(np.hypot(along / width, across / height) <= 1).float()[None]
    assert example.circumference(mark, spacing).item() == pytest.approx(perimeter(width, height), rel=0.01)


def test_a_shadow_of_the_example_darkens_some_images_and_brightens_none(example) -> None:
    images = torch.rand(16, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    made = example.shadowed(images, torch.Generator().manual_seed(1))
    assert (made <= images).all()
    darkened = (made < 0.95 * images).flatten(1).any(1)
    assert 3 <= darkened.sum() <= 13
    assert torch.equal(made, example.shadowed(images, torch.Generator().manual_seed(1)))


def test_the_example_learns_and_is_hosted_as_it_is(example, folder: Path, tmp_path: Path) -> None:
    network = example.train(folder, epochs=2, copies=1)
    exported = tmp_path / "head.ts"
    torch.jit.trace(network, torch.zeros(2, 1, *example.SPEC.size)).save(str(exported))
    images, _ = example.read(folder, "test", 1)
    command = ["classifier", "import", str(exported), "--output", "value", "--unit", "mm", "--range", "30,1000"]
    command += ["--tolerance", "3", "--size", "96,96", "--spacing", "1.6,1.6", "--intensity=0,255", "--axes"]
    ran = CliRunner().invoke(build(), [*command, "columns,rows", "--out", str(tmp_path / "heads")])
    assert ran.exit_code == 0, ran.output
    hosted = load_classifier(tmp_path / "heads")
    with torch.no_grad():
        expected = network(images[:, :1])[:, 0].numpy()
    assert output_kind(hosted).value_of(hosted.predict(images[:, :1].numpy())) == pytest.approx(expected, rel=1e-4)
