"""Effect and change of a radiograph, which lies nowhere in the patient: no geometry is invented for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from otherwise.report.dicom.write import write_dicom

pytestmark = pytest.mark.usefixtures("blank_pages")

PLACE = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "SharedFunctionalGroupsSequence")


def values_of(path: Path) -> np.ndarray:
    """``(i, j)`` of a map, as any viewer reads it: stored values times slope plus intercept."""
    data = pydicom.dcmread(path)
    return (data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)).T


@pytest.mark.parametrize("box", [None, ((10, 20, 0), (90, 61, 1))], ids=["whole", "a box"])
def test_maps_lie_pixel_for_pixel_on_their_source(
    box: object, source: Callable, explained: Callable, in_whole: Callable, tmp_path: Path
) -> None:
    path = source("mammogram")
    explanation = explained(path, box)
    files = write_dicom(explanation, path, tmp_path / "out")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    for name, image in (("effect", explanation.volumes.effect), ("change", explanation.volumes.difference)):
        data = pydicom.dcmread(files[name], stop_before_pixels=True)
        assert data.SOPClassUID == SecondaryCaptureImageStorage
        assert (data.Rows, data.Columns) == (header.Rows, header.Columns)
        assert not [keyword for keyword in PLACE if keyword in data], "a projection has none of these"
        assert data.PatientOrientation == header.PatientOrientation
        expected = in_whole(explanation, image.array[0])[:, :, 0]
        np.testing.assert_allclose(values_of(files[name]), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
        nothing = np.abs(values_of(files[name])[expected == 0])
        assert nothing.max() < 1e-9 * np.abs(expected).max(), "where nothing changed there is nothing"


@pytest.mark.parametrize("keyword", ["ImageLaterality", "Laterality"])
def test_the_side_is_that_of_the_source_in_every_object(
    keyword: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("mammogram")
    data = pydicom.dcmread(path)
    setattr(data, keyword, "L")
    data.save_as(path)
    files = write_dicom(explained(path), path, tmp_path / "out")
    objects = {name: pydicom.dcmread(file, stop_before_pixels=True) for name, file in files.items()}
    report, regions = objects.pop("report"), objects.pop("regions")
    for segment in regions.SegmentSequence:
        (side,) = segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence
        assert side.CodeMeaning == "Left"
    assert {name: one.get("Laterality") for name, one in objects.items()} == dict.fromkeys(objects, "L")
    assert "Left" in str(report), "of the finding site"


def test_of_an_unknown_side_nothing_is_said(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    for file in write_dicom(explained(path), path, tmp_path / "out").values():
        data = pydicom.dcmread(file, stop_before_pixels=True)
        assert not data.get("Laterality")
        assert "Left" not in str(data)
        assert "Right" not in str(data)
