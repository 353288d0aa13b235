"""A hosted model gives its own pipeline's answers, or is told what differs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import typer
from typer.testing import CliRunner

from otherwise.blackbox.checks.expected import AnswersError, read_expected_values
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show, view, warnings_of
from otherwise.cli import classifier, classify
from otherwise.cli.options.input_contract import read_contract
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image

CLASSES = ("no", "yes")
PLAIN = {
    **dict.fromkeys(("spacing", "intensity", "axes", "orientation", "fit", "interpolation", "value_range")),
    **dict.fromkeys(("mean", "deviation", "patches")),
    "modality": "OT",
    "grey": "refuse",
    "layout": "NCHW",
    "colours": "RGB",
    "normalise": "none",
    "dtype": "float32",
}
ROWS, COLUMNS = 12, 20


class Weighted(torch.nn.Module):
    """Weighs every pixel otherwise, so that any other order of the pixels gives another answer."""

    def __init__(self, channels: int, last: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weights = torch.nn.Parameter(torch.randn(2, channels * ROWS * COLUMNS, generator=generator) / 20)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2) if self.last else x
        return x.float().flatten(1) @ self.weights.T


def save(module: torch.nn.Module, path: Path, example: torch.Tensor) -> Path:
    torch.jit.save(torch.jit.trace(module.eval(), example), str(path))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(3)
    paths = []
    for number in range(6):
        array = (rng.random((ROWS, COLUMNS, 3)) * 256).astype(np.uint8)
        PIL.Image.fromarray(array).save(folder / f"p{number}.png")
        paths.append(folder / f"p{number}.png")
    return paths


def softmax(logits: torch.Tensor) -> np.ndarray:
    return torch.softmax(logits.double(), 1).detach().numpy()


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
PIPELINES: dict[str, tuple[dict[str, str], Callable[[np.ndarray], np.ndarray]]] = {
    "plain": ({}, lambda x: x / 255),
    "imagenet": ({"normalise": "imagenet"}, lambda x: (x / 255 - IMAGENET[0]) / IMAGENET[1]),
    "symmetric": ({"value_range": "-1,1"}, lambda x: x / 127.5 - 1),
    "own-mean": ({"mean": "0.5,0.4,0.3", "deviation": "0.2"}, lambda x: (x / 255 - [0.5, 0.4, 0.3]) / 0.2),
    "z-score": ({"normalise": "z-score"}, lambda x: (x - x.mean((0, 1))) / x.std((0, 1))),
    "bgr": ({"colours": "BGR"}, lambda x: x[..., ::-1] / 255),
    "bytes": ({"value_range": "0,255"}, lambda x: x),
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "transposed"])
def test_every_pipeline_gives_its_own_answers(tmp_path: Path, pictures: list[Path], name: str, layout: str) -> None:
    options, own = PIPELINES[name]
    last = layout == "NHWC"
    arrays = np.stack([own(np.asarray(PIL.Image.open(path), np.float64)) for path in pictures]).astype(np.float32)
    if layout == "transposed":
        arrays = arrays.transpose(0, 2, 1, 3)
    tensor = torch.from_numpy(np.ascontiguousarray(arrays if last else arrays.transpose(0, 3, 1, 2)))
    module = Weighted(3, last)
    path = save(module, tmp_path / "model.ts", tensor)
    axes = "columns,rows" if layout == "transposed" else None
    size = f"{COLUMNS},{ROWS}"
    given = {**PLAIN, **options, "layout": "NHWC" if last else "NCHW", "axes": axes}
    contract = read_contract(size=size, channels=3, **given)
    import_classifier(path, tmp_path / "b", classes=CLASSES, inputs=contract.inputs, tensor=contract.tensor)
    hosted = load_classifier(tmp_path / "b")
    seen = np.stack([show(read_image(path), hosted.inputs) for path in pictures])
    np.testing.assert_allclose(hosted.predict(seen), softmax(module(tensor)), atol=1e-5)


@pytest.mark.parametrize(
    ("interpolation", "size"), [("antialias", (7, 5)), ("antialias", (33, 21)), ("cubic", (9, 7)), ("linear", (7, 5))]
)
def test_images_are_resized_as_pytorch_does(interpolation: str, size: tuple[int, int]) -> None:
    array = np.random.default_rng(1).random((ROWS, COLUMNS)).astype(np.float32)
    mode = "bicubic" if interpolation == "cubic" else "bilinear"
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(array)[None, None], size[::-1], mode=mode, antialias=interpolation != "linear"
    )[0, 0]
    contract = read_contract(
        size=f"{size[0]},{size[1]}", channels=1, **{**PLAIN, "interpolation": interpolation, "intensity": "-1,2"}
    )
    image = Image(array.T[None, :, :, None], Geometry((COLUMNS, ROWS, 1), np.diag([-1.0, -1, 1, 1])), "x", 2)
    seen = show(image, contract.inputs)[0].T * 3 - 1
    np.testing.assert_allclose(seen, wanted.numpy(), atol=2e-6)


def test_all_48_orientations_of_a_volume_give_one_view() -> None:
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    rng = np.random.default_rng(0)
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])
    array = rng.random((14, 11, 6)).astype(np.float32)
    contract = read_contract(
        size="8,8,8", channels=1, **{**PLAIN, "spacing": "1,1,1", "intensity": "0,1", "orientation": "LPS"}
    )
    wanted = show(Image(array[None], Geometry(array.shape, affine), "v"), contract.inputs)
    import itertools

    import nibabel

    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((0, 1), repeat=3):
            pairs = ("RL", "AP", "SI")
            codes = [pairs[axis][sign] for axis, sign in zip(axes, signs, strict=True)]
            change = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
            turned = nibabel.apply_orientation(array, change)
            grid = Geometry(turned.shape, affine @ inv_ornt_aff(change, array.shape))
            np.testing.assert_allclose(show(Image(turned[None], grid, "v"), contract.inputs), wanted, atol=1e-5)


def test_what_makes_an_answer_doubtful_is_said() -> None:
    contract = read_contract(size="64,64", channels=1, **PLAIN)
    geometry = Geometry((64, 64, 1), np.eye(4))
    rng = np.random.default_rng(0)
    deep = Image(rng.integers(300, 4096, (1, 64, 64, 1)).astype(np.uint16), geometry, "deep", 2)
    deep.array[0, 0, 0, 0] = 0
    labels = Image(rng.integers(0, 3, (1, 64, 64, 1)).astype(np.uint8), geometry, "labels", 2)
    fine = Image(rng.integers(0, 256, (1, 64, 64, 1)).astype(np.uint8), geometry, "fine", 2)
    codes = [
        [warning.code for warning in warnings_of(image, contract.inputs, view(image, contract.inputs))]
        for image in (deep, labels, fine)
    ]
    assert codes == [["clipped"], ["label-map"], []]


def run(*arguments: object):
    app = typer.Typer()
    classifier.register(app)
    classify.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def transposed(tmp_path: Path, pictures: list[Path]) -> Path:
    """A network that takes columns first, imported by the defaults, and the answers of its own pipeline."""
    arrays = np.stack([np.asarray(PIL.Image.open(path), np.float32) / 255 for path in pictures])
    tensor = torch.from_numpy(np.ascontiguousarray(arrays.transpose(0, 3, 2, 1)))
    module = Weighted(3)
    path = save(module, tmp_path / "model.ts", tensor)
    with (tmp_path / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", *CLASSES])
        table.writerows([path.stem, *answer] for path, answer in zip(pictures, softmax(module(tensor)), strict=True))
    size = f"{COLUMNS},{ROWS}"
    out = tmp_path / "b"
    result = run("classifier", "import", path, "--classes", "no,yes", "--size", size, "--channels", 3, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Assumed: the tensor's axes are rows,columns (--axes)." in result.output
    return out


def test_the_usual_suspect_is_named_with_its_option(tmp_path: Path, transposed: Path) -> None:
    check = ("classifier", "check", transposed, "--images", tmp_path / "pictures")
    result = run(*check, "--expected", tmp_path / "answers.csv")
    assert result.exit_code == 1
    assert "Explained by transposed axes" in result.output
    assert "--axes columns,rows" in result.output
    page = (tmp_path / "answers-seen.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6


def test_a_second_softmax_in_the_other_pipeline_is_named(tmp_path: Path, transposed: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "own.csv"
    assert run("classify", folder, "--classifier", transposed, "--out", out).exit_code == 0
    with out.open(newline="", encoding="utf-8") as file:
        rows = [(row["id"], [float(row[name]) for name in CLASSES]) for row in csv.DictReader(file)]
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", *CLASSES])
        table.writerows([id, *softmax(torch.tensor([answer]))[0]] for id, answer in rows)
    result = run("classifier", "check", transposed, "--images", folder, "--expected", out)
    assert result.exit_code == 1
    assert "Explained by a second softmax in the other pipeline" in result.output
    assert "leave it out there, and compare again" in result.output


def test_a_folder_is_classified_into_a_table_that_is_its_own_expectation(tmp_path: Path, transposed: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "own.csv"
    result = run("classify", folder, "--classifier", transposed, "--out", out)
    assert result.exit_code == 0, result.output
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"p{number}" for number in range(6)]
    assert all(row["label"] == max(CLASSES, key=lambda name, row=row: float(row[name])) for row in rows)
    check = run("classifier", "check", transposed, "--images", folder, "--expected", out)
    assert "expected    of 6 images: largest difference 0" in check.output
    one = run("classify", folder / "p0.png", "--classifier", transposed, "--json")
    probability = json.loads(one.stdout)["probabilities"]["yes"]
    assert probability == pytest.approx(float(rows[0]["yes"]), abs=1e-6)
    (folder / "broken.png").write_bytes(b"nothing")
    assert run("classify", folder, "--classifier", transposed, "--out", out, "--replace").exit_code == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [["id", "a", "b"], *rows[1:]], "no column for class 'no'"),
        (lambda rows: [rows[0], ["other", 0.5, 0.5], *rows[2:]], "there is no such image"),
        (lambda rows: rows[:-1], "no row for 1 of 6 images"),
        (lambda rows: [*rows, rows[1]], "lines 2 and 8 both name"),
        (lambda rows: [rows[0], *([r[0], 100 * float(r[1]), 100 * float(r[2])] for r in rows[1:])], "percentages"),
        (lambda rows: rows[:1], "has no rows"),
    ],
)
def test_expected_answers_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, transposed: Path, change: Callable, message: str
) -> None:
    table = tmp_path / "answers.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = change(list(csv.reader(file)))
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    result = run("classifier", "check", transposed, "--images", tmp_path / "pictures", "--expected", table)
    assert result.exit_code == 1
    assert message in result.output


class Light(torch.nn.Module):
    """A value that depends on where the light is: the mean of each column of the picture, weighted by its place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.linspace(0, 1, x.shape[2])
        return (x[:, 0].mean(dim=2) @ weights)[:, None] * 20


AGES = OutputKind("value", unit="years", range=(0, 400), name="age", spread=10.0, tolerance=1.0)


@pytest.fixture
def ages(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A hosted value model, a folder of images, and what the model says of them."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(3)
    arrays = (rng.random((6, ROWS, COLUMNS)) * np.linspace(60, 250, 6)[:, None, None]).astype(np.uint8)
    for number, array in enumerate(arrays):
        PIL.Image.fromarray(array).save(folder / f"{number}.png")
    model = save(Light(), tmp_path / "light.ts", torch.zeros(1, 1, COLUMNS, ROWS))
    import_classifier(model, tmp_path / "ages", inputs=InputSpec((COLUMNS, ROWS), intensity=(0, 255)), answer=AGES)
    with torch.no_grad():
        values = Light()(torch.from_numpy(arrays.transpose(0, 2, 1)[:, None].astype(np.float32) / 255))
    return tmp_path / "ages", folder, values[:, 0].numpy()


def check_values(bundle: Path, folder: Path, values: np.ndarray, column: str = "value") -> tuple[int, str]:
    table = folder.parent / "expected.csv"
    lines = [f"file,{column}", *(f"{number}.png,{value!r}" for number, value in enumerate(values.tolist()))]
    table.write_text("\n".join(lines), encoding="utf-8")
    app = typer.Typer()
    classifier.register(app)
    found = CliRunner().invoke(
        app, ["classifier", "check", str(bundle), "--images", str(folder), "--expected", str(table)]
    )
    return found.exit_code, found.output + str(found.exception or "")


@pytest.mark.parametrize("column", ["value", "age"])
def test_expected_values_are_compared_in_the_unit(ages: tuple[Path, Path, np.ndarray], column: str) -> None:
    bundle, folder, values = ages
    code, output = check_values(bundle, folder, values, column)
    assert code == 0, output
    assert "years, within 1 years for 100 %" in output
    off = values.copy()
    off[2] += 4
    code, output = check_values(bundle, folder, off, column)
    assert "largest difference 4 years" in output
    assert "for 83 %" in output
    assert "None of the usual suspects explains it" in output


def test_causes_of_other_values_are_named(ages: tuple[Path, Path, np.ndarray]) -> None:
    bundle, folder, values = ages
    _, output = check_values(bundle, folder, values * 12)
    assert "another unit or zero there, 12 times the value here plus" in output
    pictures = [np.asarray(PIL.Image.open(folder / f"{n}.png"), np.float32).T / 255 for n in range(len(values))]
    with torch.no_grad():
        turned = Light()(torch.from_numpy(np.stack([each[::-1].copy() for each in pictures])[:, None]))[:, 0].numpy()
    _, output = check_values(bundle, folder, turned)
    assert "--orientation" in output


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("file,months\n0.png,3\n", "has no column of values (it has file, months)"),
        ("file,value\n0.png,nan\n", "line 2 holds nan"),
        ("file,value\n0.png,many\n", "line 2 has no number"),
        ("file,value\n0.png,3\n", "has no row for 5 of 6 images"),
        ("file,value\n0.png,3\n0.png,4\n", "lines 2 and 3 both name 0.png"),
        ("file,value\nother.png,3\n", "there is no such image"),
    ],
)
def test_tables_of_values_that_do_not_fit_are_refused(
    ages: tuple[Path, Path, np.ndarray], text: str, fault: str
) -> None:
    _, folder, _ = ages
    table = folder.parent / "expected.csv"
    table.write_text(text, encoding="utf-8")
    images = list_images(folder).images
    with pytest.raises(AnswersError, match=re.escape(fault)) as refused:
        read_expected_values(table, AGES, images)
    assert refused.value.hint
