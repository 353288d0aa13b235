"""The decisive regions as DICOM SEG: every voxel where it was, every frame with its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from otherwise.explain.explanation import Explanation
from otherwise.images.reading import read_image
from otherwise.report.dicom.write import write_dicom

pytestmark = pytest.mark.usefixtures("blank_pages")

BOXES = {
    "oblique CT": [None, ((5, 7, 3), (40, 33, 11))],
    "plane in space": [None, ((10, 20, 0), (90, 61, 1))],
    "enhanced CT": [None, ((5, 7, 3), (40, 33, 11))],
}
CASES = [pytest.param(kind, box, id=f"{kind}{', a box' if box else ''}") for kind in BOXES for box in BOXES[kind]]


def read_labels(path: Path, source: Path, put_back: Callable[..., np.ndarray]) -> np.ndarray:
    """The label map ``(i, j, k)`` on the grid of the source, by segment number."""
    segmentation = hd.seg.segread(path)
    numbers = [int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
               for frame in segmentation.PerFrameFunctionalGroupsSequence]  # fmt: skip
    geometry = read_image(source).geometry
    stored = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    frames = stored * np.array(numbers)[:, None, None]
    return put_back(segmentation, frames, geometry, np.zeros(geometry.shape, int))


def renumbered(explanation: Explanation) -> np.ndarray:
    """Regions by rank: segment 1 is the strongest, whatever its label."""
    labels = explanation.volumes.regions.array[0]
    ranks = np.zeros(labels.shape, int)
    for rank, region in enumerate(explanation.regions, start=1):
        ranks[labels == region.label] = rank
    return ranks


@pytest.mark.parametrize(("kind", "box"), CASES)
def test_regions_come_back_voxel_for_voxel_in_their_place(
    kind: str,
    box: object,
    source: Callable,
    explained: Callable,
    put_back: Callable,
    in_whole: Callable,
    tmp_path: Path,
) -> None:
    path = source(kind)
    explanation = explained(path, box)
    files = write_dicom(explanation, path, tmp_path / "out")

    again = read_labels(files["regions"], path, put_back)
    np.testing.assert_array_equal(again, in_whole(explanation, renumbered(explanation)))
    assert set(np.unique(again)) == {0, 1, 2}


@pytest.mark.parametrize("box", [None, ((10, 20, 0), (90, 61, 1))], ids=["whole", "a box"])
def test_on_a_mammogram_pixels_stand_for_the_place_that_it_lacks(
    box: object, source: Callable, explained: Callable, in_whole: Callable, tmp_path: Path
) -> None:
    path = source("mammogram")
    explanation = explained(path, box)
    segmentation = hd.seg.segread(write_dicom(explanation, path, tmp_path / "out")["regions"])

    expected = in_whole(explanation, renumbered(explanation))[:, :, 0].T
    for number in (1, 2):
        np.testing.assert_array_equal(segmentation.pixel_array[number - 1], expected == number)
    assert segmentation.FrameOfReferenceUID, "of a plane of its own"
    assert (segmentation.Rows, segmentation.Columns) == expected.shape


@pytest.mark.parametrize("kind", ["oblique CT", "enhanced CT", "mammogram"])
def test_every_frame_has_content_and_names_its_source(
    kind: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    segmentation = hd.seg.segread(write_dicom(explained(path), path, tmp_path / "out")["regions"])
    headers = {header.SOPInstanceUID: header for header in headers_of(path)}

    assert segmentation.pixel_array.reshape(segmentation.NumberOfFrames, -1).any(axis=1).all()
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        header = headers[image.ReferencedSOPInstanceUID]
        assert image.ReferencedSOPClassUID == header.SOPClassUID
        if kind == "enhanced CT":
            header = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        if kind != "mammogram":
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            np.testing.assert_allclose(np.array(position, float), np.array(header.ImagePositionPatient, float))


def test_segments_are_called_what_people_call_them_strongest_first(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    segmentation = hd.seg.segread(write_dicom(explanation, path, tmp_path / "out")["regions"])
    named, unnamed = segmentation.SegmentSequence

    assert (named.SegmentLabel, unnamed.SegmentLabel) == ("mass with spiculated margin", "Decisive region 1")
    code = named.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("RID5713", "99OTHERWISE")  # nobody said which scheme
    assert "not named" in unnamed.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
    algorithm = named.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (explanation.agent.name, explanation.agent.version)
    assert explanation.classifier.version in algorithm.AlgorithmParameters
    assert named.TrackingUID != unnamed.TrackingUID


def test_a_concept_that_names_its_scheme_keeps_it(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("plane in space")
    explanation = explained(path)
    concept = {"name": "Lesion with spiculated margin", "code": "129742005", "scheme": "SCT", "confidence": 1.0}
    regions = (replace(explanation.regions[0], concept=concept), explanation.regions[1])
    files = write_dicom(replace(explanation, regions=regions), path, tmp_path / "out")

    code = hd.seg.segread(files["regions"]).SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("129742005", "SCT")


def headers_of(path: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
