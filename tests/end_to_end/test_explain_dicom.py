"""``otherwise explain`` on real DICOM: radiographs (JPEG 2000, MONOCHROME1) and a folder with a CT series."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pydicom
import pytest
import torch
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.report.folder import read_explanation
from support.quick_search import EXPLAINER, ONE_ATTEMPT, VALIDATION
from support.square_models import squares

DICOM = Path(__file__).parents[2].parent / "shared" / "data" / "dicom"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not DICOM.is_dir(), reason="real DICOM (shared/data/dicom) is not here"),
]

IMAGES = {
    "cr/RG3_J2KR.dcm": None,  # JPEG 2000, MONOCHROME1
    "mg/MG1_small_derived.dcm": None,
    "ct_series": 1,
}


class Middle(torch.nn.Module):
    """Says "bright" by the mean of the central square."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = 12 * (images[:, 0, 8:24, 8:24].mean(dim=(1, 2)) - 0.4)
        return torch.stack([-bright, bright], dim=1)


def run(*words: object) -> str:
    result = CliRunner().invoke(build(), [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Options for a classifier of any window, each image's own, and its agent."""
    place = tmp_path_factory.mktemp("models")
    torch.jit.script(Middle()).save(str(place / "middle.pt"))
    options = ["--classes", "dark,bright", "--size", "32,32", "--intensity", "image", "--normalise", "none"]
    run("classifier", "import", place / "middle.pt", *options, "--out", place / "classifier")
    for number, array in enumerate(squares((32, 32), 40, seed=3)):
        image = Image(array[..., None], Geometry((32, 32, 1), np.eye(4)), dimension=2)
        write_image(image, place / "images" / f"{number}.nii.gz")
    small = ["--epochs", 1, "--batch", 8, "--channels", "16,16", "--latent", 8, "--device", "cpu"]
    taught = ["--classifier", place / "classifier", "--images", place / "images"]
    with mock.patch(VALIDATION, return_value=ONE_ATTEMPT):
        run("train", "agent", *taught, "--out", place / "agent", *small)
    return ["--classifier", place / "classifier", "--agent", place / "agent"]


@pytest.mark.parametrize("name", IMAGES)
def test_real_dicom_is_explained_in_its_own_geometry(
    name: str, models: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXPLAINER, lambda **_: ONE_ATTEMPT)
    source = read_image(DICOM / name)
    slice_index = IMAGES[name]
    chosen = [] if slice_index is None else ["--slice", slice_index]
    content = json.loads(run("explain", DICOM / name, *models, *chosen, "--dicom", "--out", tmp_path / "out", "--json"))

    explanation = read_explanation(tmp_path / "out")
    assert content["geometry"]["shape"] == list(source.geometry.shape)
    np.testing.assert_allclose(explanation.volumes.effect.geometry.affine, source.geometry.affine, atol=1e-6)
    np.testing.assert_array_equal(explanation.volumes.original.array, source.array)
    assert explanation.slice_index == slice_index
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    written = {file.stem: pydicom.dcmread(file) for file in (tmp_path / "out" / "dicom").iterdir()}
    objects = {name for name in written if not name.startswith("page-")}
    assert {"effect", "change", "report"} <= objects <= {"effect", "change", "report", "regions"}
    text = (tmp_path / "out" / "explanation.json").read_text() + (tmp_path / "out" / "report.html").read_text()
    first = DICOM / name if slice_index is None else sorted((DICOM / name).iterdir())[0]
    patient = str(pydicom.dcmread(first, stop_before_pixels=True).get("PatientName", ""))
    assert not patient or patient not in text
    assert {str(data.PatientName) for data in written.values()} == {patient}
