"""All objects beside their source: in its study, whole or not at all, nothing of the patient in any message."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import OtherwiseError
from otherwise.images.image import Image
from otherwise.images.listing import list_images
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom as write_phantom
from otherwise.report.dicom.creation import Creation
from otherwise.report.dicom.segmentation import explanation_segmentation
from otherwise.report.dicom.source import match_source
from otherwise.report.dicom.write import write_dicom
from otherwise.report.explanation_json import explanation_json
from otherwise.report.folder import read_explanation, write_explanation

KINDS = ["oblique CT", "plane in space", "mammogram", "enhanced CT"]


def change(path: Path, **values: Any) -> None:
    """Set attributes of all files of a source; None removes one."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        data = pydicom.dcmread(file)
        for name, value in values.items():
            if value is not None:
                setattr(data, name, value)
            elif name in data:
                delattr(data, name)
        data.save_as(file, write_like_original=False)


def refusal(explanation: Any, path: Path, out: Path) -> str:
    with pytest.raises(OtherwiseError) as caught:
        write_dicom(explanation, path, out)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_they_belong_to_the_patient_study_and_space_of_the_source(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("oblique CT")
    change(path, StudyDate="20200229", AccessionNumber="A1", PatientBirthDate="19500101", PatientSex="F")
    files = write_dicom(explained(path), path, tmp_path / "out")
    theirs = pydicom.dcmread(next(path.iterdir()))
    ours = {name: pydicom.dcmread(file) for name, file in files.items()}

    same = ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "AccessionNumber")
    for data in ours.values():
        assert [data.get(name) for name in (*same, "PatientName")] == [
            theirs.get(name) for name in (*same, "PatientName")
        ]
        assert data.SeriesDescription.startswith("Otherwise")
        assert data.SoftwareVersions
    assert {ours[name].FrameOfReferenceUID for name in ("regions", "effect", "change")} == {theirs.FrameOfReferenceUID}
    assert len({data.SeriesInstanceUID for data in [*ours.values(), theirs]}) == 6
    assert [ours[name].Modality for name in ("regions", "effect", "change", "report")] == ["SEG", "OT", "OT", "SR"]


def references(data: pydicom.Dataset) -> set[str]:
    """UIDs of all instances that an object refers to, wherever in it."""
    found: set[str] = set()
    data.walk(
        lambda _, element: found.add(str(element.value)) if element.keyword == "ReferencedSOPInstanceUID" else None
    )
    return found


@pytest.mark.usefixtures("blank_pages")
@pytest.mark.parametrize("kind", KINDS)
def test_each_refers_to_the_source_and_to_the_others(
    kind: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    files = write_dicom(explained(path), path, tmp_path / "out")
    ours = {name: pydicom.dcmread(file) for name, file in files.items()}
    sources = {str(pydicom.dcmread(file).SOPInstanceUID) for file in (path.iterdir() if path.is_dir() else [path])}
    images = {str(data.SOPInstanceUID) for name, data in ours.items() if name != "report"}

    for name, data in ours.items():
        assert images - {str(data.SOPInstanceUID)} <= references(data), name
        assert references(data) & sources, name


def test_pages_of_the_report_are_pictures_for_any_viewer(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    files = write_dicom(explained(path), path, tmp_path / "out")
    pages = [pydicom.dcmread(files[name]) for name in ("page-1", "page-2")]

    assert [page.InstanceNumber for page in pages] == [1, 2]
    assert len({page.SeriesInstanceUID for page in pages}) == 1
    for page in pages:
        assert page.SOPClassUID == SecondaryCaptureImageStorage
        assert (page.Rows, page.Columns) == (1285, 909)
        inked = (page.pixel_array.min(axis=2) < 200).mean()
        assert 0.005 < inked < 0.6, "text and pictures on white paper"
        assert "FrameOfReferenceUID" not in page


def test_where_no_region_decides_there_is_no_segmentation(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    regions = explanation.volumes.regions
    empty = replace(explanation.volumes, regions=regions.with_array(np.zeros_like(regions.array)))
    files = write_dicom(replace(explanation, regions=(), volumes=empty), path, tmp_path / "out")

    assert sorted(files) == ["change", "effect", "page-1", "page-2", "report"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"{name}.dcm" for name in sorted(files)]


def test_the_same_identifiers_and_time_give_the_same_bytes(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("plane in space")
    explanation = explained(path)

    def write(name: str) -> dict[str, bytes]:
        numbers = count(1)
        creation = Creation(lambda: f"2.25.{next(numbers)}", datetime(2026, 11, 22, 9, 30))
        files = write_dicom(explanation, path, tmp_path / name, creation=creation)
        return {name: file.read_bytes() for name, file in files.items()}

    first, again = write("first"), write("again")
    assert sorted(first) == ["change", "effect", "page-1", "page-2", "regions", "report"]
    assert [name for name in first if first[name] != again[name]] == []


@pytest.mark.usefixtures("blank_pages")
def test_an_explanation_read_from_its_folder_is_enough(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = read_explanation(write_explanation(explained(path), tmp_path / "explanation"))
    assert len(write_dicom(explanation, path, tmp_path / "explanation" / "dicom")) == 6


@pytest.mark.usefixtures("blank_pages")
def test_what_files_in_the_wild_leave_out_is_empty(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    absent = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime")
    change(path, **dict.fromkeys((*absent, "AccessionNumber", "ReferringPhysicianName", "Modality")))
    files = write_dicom(explained(path), path, tmp_path / "out")
    for file in files.values():
        data = pydicom.dcmread(file)
        assert all(name in data and not data[name].value for name in absent)


@pytest.mark.usefixtures("blank_pages")
def test_a_patients_name_keeps_its_letters_and_stays_out_of_every_log(
    source: Callable,
    explained: Callable,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    path = source("mammogram")
    # No caret, letters beyond ASCII, and a sex that is none: libraries like to say so, with the value.
    change(path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller Ängström", PatientSex="W", PatientID="4711-XY")
    explanation = explained(path)
    files = write_dicom(explanation, path, tmp_path / "out")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        explanation_segmentation(explanation, match_source(explanation, path))

    for file in files.values():
        data = pydicom.dcmread(file)
        assert (str(data.PatientName), data.PatientSex) == ("Müller Ängström", "")
    output = caplog.text + "".join(capfd.readouterr()) + "".join(str(warning.message) for warning in warned)
    assert not any(part in output for part in ("üller", "ngstr", "4711"))


def test_another_image_is_refused(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    image: Image = explanation.volumes.original

    elsewhere = image.geometry.affine.copy()
    elsewhere[0, 3] += 0.01
    moved = Image(image.array, type(image.geometry)(image.geometry.shape, elsewhere), image.id, 3)
    changed = image.with_array(np.where(np.arange(image.array.size).reshape(image.array.shape) == 5, 7, image.array))
    for name, other in {"moved": moved, "changed": changed, "shorter": image.crop((0, 0, 0), (48, 44, 13))}.items():
        series = write_phantom(other, tmp_path / name)
        assert "another image" in refusal(explanation, series, tmp_path / "out")


def test_what_is_no_dicom_is_refused(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("plane in space")
    explanation = explained(path)
    nrrd = write_image(explanation.volumes.original, tmp_path / "image.nrrd")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:300])

    assert "no DICOM file" in refusal(explanation, nrrd, tmp_path / "out")
    assert "no DICOM images" in refusal(explanation, tmp_path / "empty", tmp_path / "out")
    assert "no file or folder" in refusal(explanation, tmp_path / "nowhere", tmp_path / "out")
    assert refusal(explanation, tmp_path / "cut.dcm", tmp_path / "out")


@pytest.mark.parametrize("name", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_what_others_refer_to_must_be_there(name: str, source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    explanation = explained(path)
    data = pydicom.dcmread(path)
    delattr(data, name)
    data.save_as(path)
    assert name in refusal(explanation, path, tmp_path / "out")


def test_a_series_must_have_a_frame_of_reference(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    change(path, FrameOfReferenceUID=None)
    assert "FrameOfReferenceUID" in refusal(explanation, path, tmp_path / "out")


@pytest.mark.usefixtures("blank_pages")
def test_one_image_of_a_folder_of_several(source: Callable, explained: Callable, tmp_path: Path) -> None:
    plane, series = source("plane in space"), source("oblique CT")
    plane.rename(series / "plane.dcm")
    (id,) = [image.id for study in list_images(series).studies for image in study.images if image.frames == 1]
    explanation = explained(series / "plane.dcm")

    assert "2 series" in refusal(explanation, series, tmp_path / "out")
    files = write_dicom(explanation, series, tmp_path / "out", part=id)
    (reference,) = pydicom.dcmread(files["effect"]).SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(series / "plane.dcm").SOPInstanceUID


@pytest.mark.usefixtures("blank_pages")
def test_of_a_colour_image_the_change_is_the_mean_of_its_channels(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("mammogram")
    data = pydicom.dcmread(path)
    pixels = np.random.default_rng(2).integers(0, 255, (data.Rows, data.Columns, 3)).astype(np.uint8)
    change(
        path,
        SOPClassUID=SecondaryCaptureImageStorage,
        PhotometricInterpretation="RGB",
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=pixels.tobytes(),
    )
    explanation = explained(path)
    assert explanation.volumes.original.array.shape[0] == 3
    files = write_dicom(explanation, path, tmp_path / "out")
    change_map = pydicom.dcmread(files["change"])
    stored = change_map.pixel_array * float(change_map.RescaleSlope) + float(change_map.RescaleIntercept)
    mean = explanation.volumes.difference.array.mean(axis=0, dtype=np.float32)
    assert stored.T.reshape(mean.shape) == pytest.approx(mean, abs=float(change_map.RescaleSlope))


@pytest.mark.usefixtures("blank_pages")
def test_older_objects_are_replaced_as_a_whole(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("plane in space")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.dcm").write_bytes(b"old")
    files = write_dicom(explained(path), path, tmp_path / "out")
    assert sorted((tmp_path / "out").iterdir()) == sorted(files.values())


def test_the_command_refuses_before_the_work(tmp_path: Path, explain: Callable[..., Any]) -> None:
    image = write_image(explain(2).volumes.original, tmp_path / "image.nrrd")
    words = ["explain", str(image), "--classifier", "mammogram_classifier", "--dicom", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(build(), words)
    assert isinstance(result.exception, OtherwiseError)
    assert "no DICOM file" in str(result.exception)


@pytest.mark.usefixtures("blank_pages")
def test_an_explanation_always_becomes_the_same_objects_and_with_other_names_others(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("plane in space")
    explanation = explained(path)
    content = explanation_json(explanation)

    def write(name: str, content: dict[str, Any]) -> dict[str, str]:
        files = write_dicom(explanation, path, tmp_path / name, creation=Creation.of(content))
        return {name: str(pydicom.dcmread(file).SOPInstanceUID) for name, file in files.items()}

    first = write("first", content)
    assert write("again", content) == first
    assert len(set(first.values())) == 6
    named = {"name": "Spiculated lesion", "scheme": "SCT", "code": "129742005", "confidence": 0.9}
    regions = [{**content["regions"][0], "concept": named}, *content["regions"][1:]]
    other = write("other", {**content, "regions": regions})
    assert not set(other.values()) & set(first.values())
    surer = [{**content["regions"][0], "concept": {**named, "confidence": 0.95}}, *content["regions"][1:]]
    assert write("surer", {**content, "regions": surer, "concepts": None}) == other
