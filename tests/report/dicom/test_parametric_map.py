"""Effect and change as Parametric Maps: equal to the last bit of single precision, in their place, with their unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.images.reading import read_image
from otherwise.report.dicom.write import write_dicom
from support.value_models import as_value

pytestmark = pytest.mark.usefixtures("blank_pages")

KINDS = ["oblique CT", "plane in space", "enhanced CT"]


def pixels(data: pydicom.Dataset) -> np.ndarray:
    """``(frames, rows, columns)`` as stored; pydicom 2 reads float pixels only so."""
    return np.frombuffer(data.FloatPixelData, "<f4").reshape(-1, data.Rows, data.Columns)


def box_of(path: Path) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    i, j, k = read_image(path).geometry.shape
    return (4, 6, k // 4), (i - 7, j - 3, k - k // 4)


@pytest.mark.parametrize("in_a_box", [False, True], ids=["whole", "a box"])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_come_back_to_the_last_bit_in_their_place(
    kind: str,
    in_a_box: bool,
    source: Callable,
    explained: Callable,
    put_back: Callable,
    in_whole: Callable,
    tmp_path: Path,
) -> None:
    path = source(kind)
    explanation = explained(path, box_of(path) if in_a_box else None)
    files = write_dicom(explanation, path, tmp_path / "out")

    geometry = read_image(path).geometry
    for name, image in (("effect", explanation.volumes.effect), ("change", explanation.volumes.difference)):
        data = pydicom.dcmread(files[name])
        again = put_back(data, pixels(data), geometry, np.zeros(geometry.shape, np.float32))
        np.testing.assert_array_equal(again, in_whole(explanation, image.array[0]))
        mapping = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
        hounsfield = name == "change" and "CT" in kind
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == ("[hnsf'U]" if hounsfield else "1")


def test_the_effect_on_a_value_is_in_its_unit(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    kind = OutputKind("value", unit="months", range=(0, 228), name="bone age")
    explanation = as_value(explained(path), kind, 150.0, "-20", 131.0)
    data = pydicom.dcmread(write_dicom(explanation, path, tmp_path / "out")["effect"])
    mapping = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "mo"
    assert mapping.LUTExplanation.startswith("Measured effect on the bone age (months)")


def test_maps_hold_only_the_box_outside_of_which_they_are_zero(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    effect = np.zeros_like(explanation.volumes.effect.array)
    effect[0, 11:20, 5:9, 2:4] = 1.5
    volumes = replace(explanation.volumes, effect=explanation.volumes.effect.with_array(effect))
    data = pydicom.dcmread(write_dicom(replace(explanation, volumes=volumes), path, tmp_path / "out")["effect"])

    assert pixels(data).shape == (2, 4, 9)
    assert (pixels(data) == 1.5).all()


def test_a_map_of_zeros_is_one_frame(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    effect = explanation.volumes.effect
    volumes = replace(explanation.volumes, effect=effect.with_array(np.zeros_like(effect.array)))
    data = pydicom.dcmread(write_dicom(replace(explanation, volumes=volumes), path, tmp_path / "out")["effect"])

    assert pixels(data).shape[0] == 1
    assert not pixels(data).any()


def test_frames_of_an_enhanced_image_are_told_by_number(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("enhanced CT")
    data = pydicom.dcmread(write_dicom(explained(path), path, tmp_path / "out")["change"])
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    explanation = explained(path)
    affine = explanation.volumes.original.geometry.affine

    for frame in data.PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        theirs = np.array(frames[number - 1].PlanePositionSequence[0].ImagePositionPatient, float)
        ours = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        inside = np.linalg.solve(affine[:3, :3], (ours - theirs) * [-1, -1, 1])
        assert abs(inside[2]) < 1e-6  # in one plane
