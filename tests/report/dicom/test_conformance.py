"""What we write keeps to the standard, as dciodvfy (David Clunie's dicom3tools) reads it; of real files too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from otherwise.report.dicom.write import write_dicom

KINDS = ["oblique CT", "plane in space", "mammogram", "enhanced CT"]
REAL = {
    "ct_series": (),
    "mg/MG1_J2KI.dcm": (),  # JPEG 2000, twelve bits, no place, no pixel spacing
    "cr/RG3_J2KR.dcm": (),  # MONOCHROME1
    "other/MR_small.dcm": (),
    "mg/MG1_small_derived.dcm": (),  # compressed with loss, but neither how nor how much
}
FOURTEEN_MEGAPIXELS = {"mg/MG1_J2KI.dcm"}


@pytest.fixture(scope="session")
def complaints() -> Callable[[Path], list[str]]:
    if shutil.which("dciodvfy") is None and not os.environ.get("CI"):
        pytest.skip("dciodvfy of the Debian package dicom3tools is not installed")

    def ask(path: Path) -> list[str]:
        result = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60, check=False)
        lines = (result.stdout + result.stderr).splitlines()
        assert lines
        return [line for line in lines if line.startswith("Error")]

    return ask


@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_phantoms_are_conformant(
    kind: str, source: Callable, explained: Callable, complaints: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    files = write_dicom(explained(path), path, tmp_path / "out")
    assert {name: complaints(file) for name, file in files.items()} == {name: [] for name in files}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in FOURTEEN_MEGAPIXELS else name for name in REAL]
)
def test_objects_of_real_images_are_conformant_and_in_their_place(
    name: str,
    real_dicom: Path,
    explained: Callable,
    complaints: Callable,
    put_back: Callable,
    tmp_path: Path,
) -> None:
    path = real_dicom / name
    explanation = explained(path)
    files = write_dicom(explanation, path, tmp_path / "out")

    for file in files.values():
        assert [line for line in complaints(file) if not any(known in line for known in REAL[name])] == []
    data = pydicom.dcmread(files["change"])
    geometry, change = explanation.volumes.difference.geometry, explanation.volumes.difference.array[0]
    if "FloatPixelData" in data:
        frames = np.frombuffer(data.FloatPixelData, "<f4").reshape(-1, data.Rows, data.Columns)
        again = put_back(data, frames, geometry, np.zeros(geometry.shape, np.float32))
        np.testing.assert_array_equal(again, change)
    else:  # it lies nowhere in the patient, and its map is a picture of the same pixels
        values = (data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)).T
        np.testing.assert_allclose(values, change[:, :, 0], rtol=0, atol=2e-5 * np.abs(change).max())
    segmentation = pydicom.dcmread(files["regions"])
    assert (segmentation.Rows, segmentation.Columns) == (geometry.shape[1], geometry.shape[0])
    count = int((explanation.volumes.regions.array > 0).sum())
    assert int(segmentation.pixel_array.sum()) == count
