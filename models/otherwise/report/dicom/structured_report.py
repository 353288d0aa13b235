"""An explanation in words and numbers as a DICOM Structured Report (PS3.16 TID 1500, Measurement Report)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from highdicom import UID
from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from otherwise import __version__
from otherwise.explain.explanation import Counterfactual, Explanation, Region
from otherwise.report import headline, value_words
from otherwise.report.dicom import MANUFACTURER, NAME
from otherwise.report.dicom.anatomy import finding_site
from otherwise.report.dicom.codes import (
    EFFECT,
    VALUE_EFFECT,
    class_code,
    official,
    private,
    probability_code,
    region_code,
    unit_code,
    value_code,
)
from otherwise.report.dicom.creation import Creation, equipment, finish
from otherwise.report.dicom.headers import references
from otherwise.report.dicom.segmentation import drawn_regions
from otherwise.report.dicom.source import SourceSeries

SERIES_NUMBER = 9904
SUFFICIENT = private("SUFFICIENT", "This region of the change alone is sufficient")
NECESSARY = private("NECESSARY", "This region of the change is necessary")
ABOVE_FLOOR = private("ABOVE_FLOOR", "Change exceeds the reconstruction error")
VALID = private("VALID", "The classifier changes its mind")
REACHED = private("REACHED", "The value is reached")
PREDICTED = private("PREDICTED_CLASS", "Class predicted by the classifier")
TARGET = private("TARGET_CLASS", "Class that was searched for")
TARGET_VALUE = private("TARGET_VALUE", "Value that was asked for")
CHANGED_FRACTION = private("CHANGED_FRACTION", "Changed share of the image")
MEAN_CHANGE = private("MEAN_CHANGE", "Mean change, share of the intensity window")
RECONSTRUCTION = private("RECONSTRUCTION", "Mean reconstruction error, share of the window")
ORIGINAL_ANSWER = private("ORIGINAL", "Answer for the image as it is")
COUNTERFACTUAL_ANSWER = private("COUNTERFACTUAL", "Answer for the counterfactual")
MINIMAL_ANSWER = private("MINIMAL", "Answer with only the regions needed changed")
WHOLE_BEFORE = private("WHOLE_BEFORE", "Answer for the whole image as it is")
WHOLE_AFTER = private("WHOLE_AFTER", "Answer for the whole image once changed")
NOTHING_FOUND = "No change was found for which the classifier changes its mind."
Group = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)
_PIXELS = CodedConcept("{pixels}", "UCUM", "Pixels")


def explanation_report(
    explanation: Explanation,
    source: SourceSeries,
    segmentation: Segmentation | None,
    maps: Sequence[Dataset] = (),
    creation: Creation | None = None,
) -> Comprehensive3DSR:
    """Answers before and after, and one measurement group for each decisive region, strongest first.

    Args:
        explanation: What to write. One that found nothing valid says so, in a code and in words.
        source: Its source.
        segmentation: Of ``explanation_segmentation``; groups refer to its segments.
        maps: Other objects of the explanation; the report names them as evidence.
        creation: Identifiers and time; by default new ones.

    Returns:
        A complete but unverified, preliminary report: no physician has seen it.
    """
    creation = creation or Creation()
    filled = np.flatnonzero(explanation.volumes.regions.array[0].any(axis=(0, 1)))
    slices = [source.slices[int(k)] for k in filled] or list(source.slices)
    headers = references(source, slices)
    image = SourceImageForMeasurementGroup(slices[0].header.SOPClassUID, slices[0].header.SOPInstanceUID)
    groups: list[Group] = [*_answers(explanation, image, creation)]
    if segmentation is not None:
        groups += [
            _region(explanation, region, number, source, segmentation)
            for number, region in enumerate(drawn_regions(explanation), start=1)
        ]
    observer = DeviceObserverIdentifyingAttributes(
        uid=UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{NAME} {__version__}"))),
        name=NAME,
        manufacturer_name=MANUFACTURER,
        model_name=f"{NAME} {__version__}",
    )
    report = Comprehensive3DSR(
        evidence=[*headers, *([segmentation] if segmentation is not None else []), *maps],
        content=_content(groups, ObserverContext(CodedConcept.from_code(official("DCM", "Device")), observer), headers),
        is_complete=True,
        **equipment(explanation, creation, SERIES_NUMBER, "Otherwise: report"),
    )
    finish(report, source, creation)
    return report


def _content(groups: Sequence[Group], observer: ObserverContext, headers: list[Dataset]) -> MeasurementReport:
    def build(library: list[Dataset] | None) -> MeasurementReport:
        return MeasurementReport(
            observation_context=ObservationContext(observer_device_context=observer),
            procedure_reported=official("SCT", "ImagingProcedure"),
            imaging_measurements=groups,
            title=official("DCM", "ImagingMeasurementReport"),
            referenced_images=library,
        )

    try:
        return build(headers)
    except (AttributeError, TypeError, IndexError, ValueError):
        # The image library describes images by attributes that not all have, such as a radiograph's orientation.
        return build(None)


def _answers(
    explanation: Explanation, image: SourceImageForMeasurementGroup, creation: Creation
) -> list[MeasurementsAndQualitativeEvaluations]:
    """Return the whole answer: what the classifier said of every image that it was asked about."""
    # A value is a measurement; the side of the question's cut on which it lies is no class.
    predicted = (
        [] if explanation.value else [QualitativeEvaluation(PREDICTED, class_code(explanation.prediction.label))]
    )
    asked = TARGET_VALUE if explanation.value else TARGET
    target = QualitativeEvaluation(asked, class_code(value_words.target(explanation)))
    errors = [_number(RECONSTRUCTION, explanation.reconstruction_l1)]
    answers = [
        _answer(ORIGINAL_ANSWER, explanation, image, creation, explanation.prediction.probabilities, errors, predicted),
        _changed(COUNTERFACTUAL_ANSWER, explanation, image, creation, explanation.counterfactual, target),
        _changed(MINIMAL_ANSWER, explanation, image, creation, explanation.minimal, target),
    ]
    if explanation.place:
        answers.append(_answer(WHOLE_BEFORE, explanation, image, creation, explanation.place.before, whole=True))
        answers.append(_answer(WHOLE_AFTER, explanation, image, creation, explanation.place.after, whole=True))
    sentences = [headline.question(explanation), headline.answer(explanation)]
    if not explanation.counterfactual.valid:
        nothing = f"{value_words.nothing_found(explanation)}." if explanation.value else NOTHING_FOUND
        sentences.insert(1, nothing)
    for sentence in [*sentences, *explanation.remarks]:
        answers[0][0].ContentSequence.append(
            TextContentItem(official("DCM", "Comment"), sentence, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    return answers


def _changed(
    kind: CodedConcept,
    explanation: Explanation,
    image: SourceImageForMeasurementGroup,
    creation: Creation,
    answer: Counterfactual,
    target: QualitativeEvaluation,
) -> MeasurementsAndQualitativeEvaluations:
    numbers = [_number(CHANGED_FRACTION, answer.changed_fraction), _number(MEAN_CHANGE, answer.l1)]
    evaluations = [target, QualitativeEvaluation(REACHED if explanation.value else VALID, _yes(answer.valid))]
    return _answer(kind, explanation, image, creation, answer.probabilities, numbers, evaluations)


def _answer(
    kind: CodedConcept,
    explanation: Explanation,
    image: SourceImageForMeasurementGroup,
    creation: Creation,
    probabilities: Mapping[str, float],
    numbers: Sequence[Measurement] = (),
    evaluations: Sequence[QualitativeEvaluation] = (),
    whole: bool = False,
) -> MeasurementsAndQualitativeEvaluations:
    """Return the probabilities of all classes, under the classifier's own names; of a value that, in its unit.

    ``whole``: The answer is that for the larger image in which a patch was explained.
    """
    if explanation.value is not None:
        value = explanation.value
        amount = value.of_whole(probabilities) if whole else value.of(probabilities)
        measurements = [Measurement(value_code(value.kind.name), amount, unit_code(value.kind.unit))]
    else:
        measurements = [_number(probability_code(name), value) for name, value in probabilities.items()]
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(creation.uid(), f"{explanation.id}: {kind.meaning}"),
        finding_type=kind,
        algorithm_id=AlgorithmIdentification(explanation.classifier.name, explanation.classifier.version),
        measurements=[*measurements, *numbers],
        qualitative_evaluations=list(evaluations),
        source_images=[image],
    )


def _region(
    explanation: Explanation, region: Region, number: int, source: SourceSeries, segmentation: Segmentation
) -> Group:
    segment = segmentation.SegmentSequence[number - 1]
    common: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        "finding_type": region_code(region),
        "algorithm_id": AlgorithmIdentification(explanation.agent.name, explanation.agent.version),
        "finding_sites": [finding_site(source.slices[0].header)],
        "measurements": [_size(explanation, region, source), _effect(explanation, region.effect)],
        "qualitative_evaluations": [
            QualitativeEvaluation(SUFFICIENT, _yes(region.sufficient)),
            QualitativeEvaluation(NECESSARY, _yes(region.necessary)),
            QualitativeEvaluation(ABOVE_FLOOR, _yes(region.above_floor)),
        ],
    }
    inside = explanation.volumes.regions.array[0] == region.label
    images = _source_images(source, [int(k) for k in np.flatnonzero(inside.any(axis=(0, 1)))])
    what = segmentation.SOPClassUID, segmentation.SOPInstanceUID
    if explanation.volumes.original.dimension == 2:
        frames = [
            index
            for index, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1)
            if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        ]
        frame = ReferencedSegmentationFrame(*what, frames, number, images[0])
        # A frame says which segment it is of; both numbers together are not allowed (PS3.3 10.8).
        del frame[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
        return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=frame, **common)
    volume = ReferencedSegment(*what, number, source_images=images)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=volume, **common)


def _source_images(source: SourceSeries, through: Sequence[int]) -> list[SourceImageForSegmentation]:
    slices = [source.slices[k] for k in through]
    first = slices[0].header
    if source.multiframe:
        frames = sorted(one.frame + 1 for one in slices)
        return [SourceImageForSegmentation(first.SOPClassUID, first.SOPInstanceUID, frames)]
    return [SourceImageForSegmentation(one.header.SOPClassUID, one.header.SOPInstanceUID) for one in slices]


def _size(explanation: Explanation, region: Region, source: SourceSeries) -> Measurement:
    """Return the volume, or the area in a plane; in pixels if their size is unknown."""
    if region.volume_mm3 is not None and explanation.volumes.original.dimension == 3:
        return Measurement(official("SCT", "Volume"), region.volume_mm3, official("UCUM", "CubicMillimeter"))
    pixels = int((explanation.volumes.regions.array == region.label).sum())
    if not source.measured:
        return Measurement(official("SCT", "Area"), pixels, _PIXELS)
    across, down = source.slices[0].plane.spacing
    return Measurement(official("SCT", "Area"), pixels * across * down, official("UCUM", "SquareMillimeter"))


def _number(name: CodedConcept, value: float) -> Measurement:
    return Measurement(name, float(value), official("UCUM", "NoUnits"))


def _effect(explanation: Explanation, effect: float) -> Measurement:
    if explanation.value is None:
        return _number(EFFECT, effect)
    return Measurement(VALUE_EFFECT, float(effect), unit_code(explanation.value.kind.unit))


def _yes(value: bool) -> Code:
    return official("cid230", "Yes" if value else "No")
