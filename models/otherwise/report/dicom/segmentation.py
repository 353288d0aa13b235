"""The decisive regions as a DICOM Segmentation (PS3.3 A.51)."""

from __future__ import annotations

import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription

from otherwise.explain.explanation import Explanation, Region
from otherwise.report.dicom.anatomy import anatomic_region
from otherwise.report.dicom.codes import official, region_code, region_name
from otherwise.report.dicom.creation import Creation, algorithm, equipment, finish
from otherwise.report.dicom.headers import references
from otherwise.report.dicom.source import SourceSeries

SERIES_NUMBER = 9901


def drawn_regions(explanation: Explanation) -> tuple[Region, ...]:
    """Return the regions that have voxels, strongest first; segment n is the n-th of them."""
    present = set(np.unique(explanation.volumes.regions.array).tolist())
    return tuple(region for region in explanation.regions if region.label in present)


def explanation_segmentation(
    explanation: Explanation,
    source: SourceSeries,
    creation: Creation | None = None,
    frame_of_reference: str | None = None,
) -> Segmentation | None:
    """Return one binary segment for each decisive region, strongest first, on the source's own pixels.

    Frames have the rows and columns of the source also where only a box of it was explained: viewers lay a segmentation
    over an image pixel for pixel. There are only frames with something in them, and each says from which instance and
    frame it is. Every frame has pixel measures, orientation and position, which readers such as dcmqi ask for; those of
    a radiograph, which lies nowhere in the patient, are on a plane of its own.

    Args:
        explanation: What to write.
        source: Its source.
        creation: Identifiers and time; by default new ones.
        frame_of_reference: For sources that lie nowhere in the patient: the UID of the frame of reference of their
            plane; by default a new one.

    Returns:
        The segmentation, or None where no region decides: DICOM knows no segmentation without a segment.
    """
    creation = creation or Creation()
    regions = drawn_regions(explanation)
    if not regions:
        return None
    numbers = np.zeros(int(explanation.volumes.regions.array.max()) + 1, np.uint8)
    for number, region in enumerate(regions, start=1):
        numbers[region.label] = number
    labels = numbers[explanation.volumes.regions.array[0]]
    filled = [int(k) for k in np.flatnonzero(labels.any(axis=(0, 1)))]
    slices = [source.slices[k] for k in filled]
    count = len(source.stack.slices) if source.multiframe else len(slices)
    columns, rows, _ = source.stack.shape
    frames = np.zeros((count, rows, columns), np.uint8)
    (left, top, _), (right, bottom, _) = source.low, source.high
    for at, (k, one) in enumerate(zip(filled, slices, strict=True)):
        frames[one.frame if source.multiframe else at, top:bottom, left:right] = labels[:, :, k].T
    segmentation = Segmentation(
        source_images=references(source, slices, None if source.placed else (frame_of_reference or creation.uid())),
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(explanation, region, number, creation) for number, region in enumerate(regions, start=1)
        ],
        content_label="REGIONS",
        content_description="Regions whose change makes the classifier decide otherwise",
        **equipment(explanation, creation, SERIES_NUMBER, "Otherwise: decisive regions"),
    )
    for segment in segmentation.SegmentSequence:
        segment.AnatomicRegionSequence = [anatomic_region(slices[0].header)]  # type: ignore[list-item]
    if not source.placed:
        segmentation.PatientOrientation = slices[0].header.get("PatientOrientation")
    finish(segmentation, source, creation)
    return segmentation


def _segment(explanation: Explanation, region: Region, number: int, creation: Creation) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=region_name(region),
        # Where, and not what: a region may be a lesion, but also a marker that should not have decided.
        segmented_property_category=official("SCT", "SpatialAndRelationalConcept"),
        segmented_property_type=region_code(region),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm(explanation),
        tracking_uid=creation.uid(),
        tracking_id=f"{explanation.id} region {region.label}"[-64:],
    )
