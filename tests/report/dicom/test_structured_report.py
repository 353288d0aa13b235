"""The Structured Report: read by highdicom, it says what the explanation says, and refers to what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest
from highdicom.sr import CodedConcept
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from otherwise.blackbox.output_kind import OutputKind
from otherwise.explain.explanation import Explanation
from otherwise.report.dicom.write import write_dicom
from support.value_models import as_value

pytestmark = pytest.mark.usefixtures("blank_pages")

KINDS = ["oblique CT", "plane in space", "mammogram", "enhanced CT"]


def read(path: Path) -> hd.sr.MeasurementReport:
    report = hd.sr.srread(path)
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    assert isinstance(report.content, hd.sr.MeasurementReport)
    return report.content


def region_groups(content: hd.sr.MeasurementReport) -> list[Any]:
    return content.get_planar_roi_measurement_groups() + content.get_volumetric_roi_measurement_groups()


def number(group: Any, meaning: str) -> float:
    (found,) = [one for one in group.get_measurements() if one.name.meaning == meaning]
    return found.value


def items_of(group: Any) -> dict[str, str]:
    return {one[0].name.value: one[0].value.meaning for one in group.get_qualitative_evaluations()}


def comments(content: hd.sr.MeasurementReport) -> list[str]:
    return [item.value for item in find_content_items(content[0], name=codes.DCM.Comment, recursive=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_region_is_a_group_with_its_numbers_and_its_segment(
    kind: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    explanation: Explanation = explained(path)
    files = write_dicom(explanation, path, tmp_path / "out")
    segmentation = hd.seg.segread(files["regions"])
    groups = region_groups(read(files["report"]))

    assert len(groups) == len(explanation.regions) == 2
    for place, (group, region) in enumerate(zip(groups, explanation.regions, strict=True)):
        segment = segmentation.SegmentSequence[place]
        assert group.tracking_uid == segment.TrackingUID
        assert group.finding_type == CodedConcept.from_dataset(segment.SegmentedPropertyTypeCodeSequence[0])
        assert number(group, "Measured effect on the log-odds") == pytest.approx(region.effect)
        assert items_of(group) == {
            "SUFFICIENT": "Yes" if region.sufficient else "No",
            "NECESSARY": "Yes" if region.necessary else "No",
            "ABOVE_FLOOR": "Yes" if region.above_floor else "No",
        }
        if "CT" in kind:
            assert number(group, "Volume") == pytest.approx(region.volume_mm3)
            reference = group.referenced_segment[0]
            assert reference.referenced_segment_numbers == [place + 1]
        else:
            reference = group.referenced_segmentation_frame[0]
            (frame,) = reference.referenced_frame_numbers
            identified = segmentation.PerFrameFunctionalGroupsSequence[frame - 1].SegmentIdentificationSequence[0]
            assert identified.ReferencedSegmentNumber == place + 1
            count = (explanation.volumes.regions.array == region.label).sum()
            spacing = explanation.volumes.original.geometry.spacing
            assert number(group, "Area") == pytest.approx(count * spacing[0] * spacing[1])
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID


def test_the_whole_answer_is_in_it(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = explained(path, ((5, 7, 3), (40, 33, 11)), notes=("Größe ist nicht alles.",))
    content = read(write_dicom(explanation, path, tmp_path / "out")["report"])
    groups = {group.finding_type.value: group for group in content.get_image_measurement_groups()}

    assert list(groups) == ["ORIGINAL", "COUNTERFACTUAL", "MINIMAL", "WHOLE_BEFORE", "WHOLE_AFTER"]
    for name, probabilities in {
        "ORIGINAL": explanation.prediction.probabilities,
        "COUNTERFACTUAL": explanation.counterfactual.probabilities,
        "MINIMAL": explanation.minimal.probabilities,
        "WHOLE_AFTER": explanation.place.after,
    }.items():
        for label, probability in probabilities.items():
            assert number(groups[name], f"Probability of {label}") == pytest.approx(probability)
    assert items_of(groups["ORIGINAL"]) == {"PREDICTED_CLASS": "malignant"}
    assert items_of(groups["COUNTERFACTUAL"]) == {"TARGET_CLASS": "benign", "VALID": "Yes"}
    assert "Größe ist nicht alles." in comments(content)
    assert not [text for text in comments(content) if "No change was found" in text]


def test_it_says_that_nothing_valid_was_found(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    explanation = explained(path)
    failed = replace(explanation.counterfactual, valid=False)
    content = read(write_dicom(replace(explanation, counterfactual=failed), path, tmp_path / "out")["report"])

    groups = {group.finding_type.value: group for group in content.get_image_measurement_groups()}
    assert items_of(groups["COUNTERFACTUAL"])["VALID"] == "No"
    assert any("No change was found" in text for text in comments(content))


def test_without_regions_it_still_tells_the_answer(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("oblique CT")
    explanation = explained(path)
    regions = explanation.volumes.regions
    volumes = replace(explanation.volumes, regions=regions.with_array(0 * regions.array))
    content = read(write_dicom(replace(explanation, regions=(), volumes=volumes), path, tmp_path / "out")["report"])

    assert region_groups(content) == []
    assert len(content.get_image_measurement_groups()) == 3


def test_areas_are_in_pixels_where_nobody_knows_how_large_these_are(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("mammogram")
    data = pydicom.dcmread(path)
    del data.ImagerPixelSpacing
    data.save_as(path)
    explanation = explained(path)
    content = read(write_dicom(explanation, path, tmp_path / "out")["report"])

    (area,) = [one for one in region_groups(content)[0].get_measurements() if one.name == codes.SCT.Area]
    assert area.unit.value == "{pixels}"
    assert area.value == (explanation.volumes.regions.array == explanation.regions[0].label).sum()


def test_software_is_the_observer_and_no_physician_has_verified_it(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("plane in space")
    files = write_dicom(explained(path), path, tmp_path / "out")
    report = hd.sr.srread(files["report"])

    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.name == "Otherwise"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    evidence = {
        instance.ReferencedSOPInstanceUID
        for kind in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report[kind].value
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    written = {pydicom.dcmread(files[name]).SOPInstanceUID for name in files if name != "report"}
    assert evidence == {pydicom.dcmread(path).SOPInstanceUID, *written}


def test_names_that_dicom_has_no_room_for_are_shortened_and_stay_apart(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("plane in space")
    classes = {
        f"a class with a name that goes on and on and on and never seems to reach its end {n}": 0.5 for n in "ab"
    }
    explanation = explained(path)
    prediction = replace(explanation.prediction, label=next(iter(classes)), probabilities=classes)
    content = read(write_dicom(replace(explanation, prediction=prediction), path, tmp_path / "out")["report"])

    original = content.get_image_measurement_groups()[0]
    names = [one.name for one in original.get_measurements() if one.name.meaning.startswith("Probability of a class")]
    assert len({name.value for name in names}) == 2
    assert all(len(name.value) <= 16 and len(name.meaning) <= 64 for name in names)


def test_a_value_is_a_measurement_in_its_own_unit(source: Callable, explained: Callable, tmp_path: Path) -> None:
    path = source("mammogram")
    kind = OutputKind("value", unit="months", range=(0, 228), name="bone age")
    explanation = as_value(explained(path), kind, 150.0, "-20", 131.0)
    content = read(write_dicom(explanation, path, tmp_path / "out")["report"])
    answers = content.get_image_measurement_groups()
    before, after = (
        next(
            one for group in answers[at : at + 1] for one in group.get_measurements() if one.name.meaning == "bone age"
        )
        for at in (0, 1)
    )
    assert (before.value, after.value) == pytest.approx((150.0, 131.0))
    assert (before.unit.value, before.unit.scheme_designator) == ("mo", "UCUM")
    (first, *_) = region_groups(content)
    assert number(first, "Measured effect on the value") == pytest.approx(explanation.regions[0].effect)
    assert any("150 months" in sentence for sentence in comments(content))


def test_the_value_of_a_patch_and_of_the_whole_image_are_measurements(
    source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source("oblique CT")
    kind = OutputKind("value", unit="months", range=(0, 228), name="bone age")
    explanation = as_value(explained(path, ((5, 7, 3), (40, 33, 11))), kind, 150.0, "-20", 131.0)
    content = read(write_dicom(explanation, path, tmp_path / "out")["report"])
    groups = {group.finding_type.value: group for group in content.get_image_measurement_groups()}
    whole = {
        "WHOLE_BEFORE": explanation.value.of_whole(explanation.place.before),
        "WHOLE_AFTER": explanation.value.of_whole(explanation.place.after),
    }
    for name, amount in {"ORIGINAL": 150.0, "COUNTERFACTUAL": 131.0, **whole}.items():
        measured = [one for one in groups[name].get_measurements() if one.name.meaning == "bone age"]
        assert [one.value for one in measured] == pytest.approx([amount], rel=1e-5)
        assert measured[0].unit.value == "mo"
    assert not any("Probability" in one.name.meaning for group in groups.values() for one in group.get_measurements())
    assert "PREDICTED_CLASS" not in items_of(groups["ORIGINAL"])
    assert items_of(groups["COUNTERFACTUAL"]) == {"TARGET_VALUE": explanation.value.question.text, "REACHED": "Yes"}
