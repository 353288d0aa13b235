"""Figures of whole sets: realism beside its controls, and the contact sheet that is drawn by lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.contact_sheet import drawn_by_lot
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod
from otherwise.evaluation.benchmark.run import Comparison
from otherwise.evaluation.benchmark.suites import run_suite
from otherwise.images.reading import read_image
from support.square_models import SquareClassifier, eager_agent


def cases_of(size: tuple[int, ...], count: int = 24) -> list[Case]:
    """Return images whose middle is bright in every second one, two of each patient."""
    generator = np.random.default_rng(0)
    middle = tuple(slice(edge // 4, edge - edge // 4) for edge in size)
    cases = []
    for number in range(count):
        image = generator.uniform(0.25, 0.35, (1, *size)).astype(np.float32)
        image[(0, *middle)] += 0.5 * (number % 2)
        cases.append(Case(f"case-{number:02}", image, None, patient=f"patient-{number // 2}"))
    return cases


def other_class(noise: float) -> EditMethod:
    """Return a method that turns the middle bright or dark, and leaves grain everywhere."""

    def make(agent: object, classifier: BlackBox, image: np.ndarray) -> Edit:
        size = image.shape[1:]
        middle = (0, *(slice(edge // 4, edge - edge // 4) for edge in size))
        bright = bool(classifier.predict(image[None])[0].argmax())
        edited = image.copy()
        edited[middle] += -0.5 if bright else 0.5
        seed = int(abs(image.sum()) * 1000) % 2**31
        edited += noise * np.random.default_rng(seed).standard_normal(image.shape)
        return Edit(edited.clip(0, 1).astype(np.float32), 1 - int(bright), True)

    return EditMethod(f"noise-{noise:g}", "Noise", "a test", make)


def folders_of(folder: Path, dimensions: int) -> dict[str, np.ndarray]:
    """Return what ``image_folders`` wrote of the first method, ``(i, j[, k])`` in [0, 1] by path."""
    files = sorted((folder / "noise-0").rglob("*.*"))
    assert len(files) == 24
    assert len(list((folder / "real").rglob("*.*"))) == 24
    if dimensions == 2:
        return {path.as_posix(): np.asarray(Picture.open(path)).T / 255 for path in files}
    return {path.as_posix(): read_image(path).array[0] / 255 for path in files}


Measured = tuple[dict[str, Any], Path, list[Case], BlackBox]
METHODS = [other_class(0.0), other_class(0.15)]


@pytest.fixture(scope="module", params=[(16, 16), (12, 12, 12)], ids=["2-D", "3-D"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Results of a suite, the folder of its files, its cases and the classifier."""
    size = tuple(request.param)
    classifier = SquareClassifier(InputSpec(size))
    judge = SquareClassifier(InputSpec(size), name="judge")
    comparison = Comparison(classifier, eager_agent(classifier), judge, [], METHODS, floor=0.01)
    cases, folder = cases_of(size), tmp_path_factory.mktemp("suite")
    results = run_suite("sets", comparison, cases, np.stack([case.image for case in cases]), folder)
    return results, folder, cases, classifier


def test_realism_stands_beside_its_controls(measured: Measured) -> None:
    results, folder, cases, classifier = measured
    exact, grainy = (results["methods"][method.name]["told_apart"] for method in METHODS)
    assert grainy["mean"] > 0.9 > exact["low"]
    assert exact["mean"] < grainy["mean"]
    assert {"told_apart_dark", "told_apart_bright"} <= results["methods"]["noise-0.15"].keys()
    controls = results["realism_controls"]
    assert set(controls) >= {"two halves of real images", "reconstructions", "own class drawn anew"}
    assert all(0 <= found["low"] <= found["high"] <= 1 for found in controls.values())
    for name, picture in folders_of(folder / "images", classifier.inputs.spatial_dims).items():
        case = next(case for case in cases if case.id in name)
        made = np.load(folder / "edits" / "noise-0" / f"{case.id}.npy")
        np.testing.assert_allclose(picture, made[0], atol=0.51 / 255)
        assert f"/{('bright', 'dark')[int(classifier.predict(case.image[None])[0].argmax())]}/" in name
    page = (folder / "table.md").read_text(encoding="utf-8")
    assert "told from real by texture" in page
    assert "two halves of real images" in page


def test_the_contact_sheet_shows_twelve_images_by_lot(measured: Measured) -> None:
    _, folder, cases, _ = measured
    with Picture.open(folder / "noise-0-drawn.png") as picture:
        assert picture.width > picture.height > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50

    drawn = [case.id for case in drawn_by_lot(cases)]
    assert len(set(drawn)) == 12
    assert drawn == [case.id for case in drawn_by_lot(cases[::-1])]
    assert drawn != [case.id for case in cases[:12]]
    assert [case.id for case in drawn_by_lot(cases[:5])] == [case.id for case in cases[:5]]
