"""Headers of a source in the form that highdicom needs, whatever attributes real files lack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM, DSfloat

from otherwise.images.formats.dicom import Slice
from otherwise.images.formats.dicom_pixels import FUNCTIONAL_GROUPS
from otherwise.report.dicom.source import SourceSeries

# Required to be there, but allowed to be empty (type 2 of PS3.3 C.7.1.1 and C.7.2.1); files in the wild leave them out.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
_LOSSY_METHODS = {
    **dict.fromkeys(("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"), "ISO_10918_1"),
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    **dict.fromkeys(("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.93"), "ISO_15444_1"),
}
"""Transfer syntaxes that lose something, and what DICOM calls their method (PS3.3 C.7.6.1.1.5.1)."""


UNKNOWN_METHOD = "UNKNOWN"
"""Of a source that says that it lost something and not how; the standard's list of methods is open."""


def references(source: SourceSeries, slices: Sequence[Slice], frame_of_reference: str | None = None) -> list[Dataset]:
    """Return the headers of instances in the form that highdicom takes.

    What files in the wild leave out, though it may be empty, is there and empty; what is no value is left out. The
    patient's name is empty too, since highdicom warns of odd ones by quoting them: see ``finish``.

    Args:
        source: The image.
        slices: Some of its slices.
        frame_of_reference: For an image that lies nowhere: the UID of a frame of reference in which it lies as
            ``read_image`` has it, with its first pixel at the origin.

    Returns:
        One header for each slice; of a multi-frame image one header for all its frames, in the order of its file.
    """
    if not source.multiframe:
        return [_reference(source, one, frame_of_reference) for one in slices]
    header = _reference(source, source.stack.slices[0], frame_of_reference)
    frames = sorted(source.stack.slices, key=lambda one: one.frame)
    header.NumberOfFrames = len(frames)
    shared, groups = Dataset(), [Dataset() for _ in frames]
    shared.PixelMeasuresSequence = pixel_measures(source)
    shared.PlaneOrientationSequence = plane_orientation(source)
    for group, one in zip(groups, frames, strict=True):
        group.PlanePositionSequence = plane_position(one)
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], groups
    return [header]


def pixel_measures(source: SourceSeries) -> PixelMeasuresSequence:
    """Return how large the voxels are (PS3.3 C.7.6.16.2.1)."""
    plane = source.slices[0].plane
    distance = decimals([source.distance])[0]
    return PixelMeasuresSequence((plane.spacing[1], plane.spacing[0]), plane.thickness, distance)


def plane_orientation(source: SourceSeries) -> PlaneOrientationSequence:
    """Return how all slices are turned (PS3.3 C.7.6.16.2.4)."""
    plane = source.slices[0].plane
    return PlaneOrientationSequence("PATIENT", [*plane.right, *plane.down])


def plane_position(one: Slice, corner: tuple[int, int] = (0, 0)) -> PlanePositionSequence:
    """Return where a slice, or its part from a column and row on, begins (PS3.3 C.7.6.16.2.3); else the origin."""
    plane = one.plane
    origin = np.zeros(3) if plane.position is None else plane.position
    first = origin + corner[0] * plane.spacing[0] * plane.right + corner[1] * plane.spacing[1] * plane.down
    return PlanePositionSequence("PATIENT", first.tolist())


def decimals(numbers: Iterable[float]) -> list[DSfloat]:
    """Format numbers as DICOM's decimal strings, of 16 characters at most (PS3.5 6.2)."""
    return [DSfloat(float(number), auto_format=True) for number in numbers]


def _reference(source: SourceSeries, one: Slice, frame_of_reference: str | None) -> Dataset:
    header = Dataset()
    for element in one.header:  # this decodes texts, which a copy as a whole would not
        if not element.tag.is_private and element.keyword not in FUNCTIONAL_GROUPS:
            header.add(copy(element))  # values are set below
    _fill(header, one)
    _place(header, source, one, frame_of_reference)
    return header


def _fill(header: Dataset, one: Slice) -> None:
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
    header.PatientName = None
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = None
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(header[name].value)
        except ValueError:
            setattr(header, name, None)
    if header.get("LossyImageCompression") == "01":
        method = _LOSSY_METHODS.get(str(one.header.file_meta.get("TransferSyntaxUID", "")))
        # Both have to be there (type 1C of PS3.3 C.7.6.1.1.5), and many sources that were decoded since leave them out.
        header.LossyImageCompressionMethod = header.get("LossyImageCompressionMethod") or method or UNKNOWN_METHOD
        header.LossyImageCompressionRatio = header.get("LossyImageCompressionRatio") or _ratio(one, bool(method))
    if "NumberOfFrames" in header:
        del header.NumberOfFrames
    header.Modality = header.get("Modality") or "OT"


def _ratio(one: Slice, still_compressed: bool) -> str:
    """Return the ratio of compression of a source that does not tell it; 1 where nothing is known of it."""
    if not still_compressed:
        return "1"
    header = one.header
    frames = int(header.get("NumberOfFrames") or 1)
    bits = int(header.BitsAllocated) * int(header.get("SamplesPerPixel") or 1)
    size = int(header.Rows) * int(header.Columns) * frames * bits / 8
    return f"{max(1.0, size / max(1, one.path.stat().st_size)):.4g}"


def _place(header: Dataset, source: SourceSeries, one: Slice, frame_of_reference: str | None) -> None:
    plane = one.plane
    if not source.placed and frame_of_reference is None:
        # Nothing that highdicom could take for a place, and no spacing of zero, which old film scanners write.
        spacing = header.get("PixelSpacing")
        for name in ("FrameOfReferenceUID", "PositionReferenceIndicator", "SliceThickness", "SpacingBetweenSlices"):
            if name in header:
                delattr(header, name)
        if "PixelSpacing" in header and not (spacing and min(spacing) > 0):
            del header.PixelSpacing
        return
    if not source.placed:
        header.FrameOfReferenceUID = frame_of_reference
    position = np.zeros(3) if plane.position is None else plane.position
    header.ImagePositionPatient = decimals(position)
    header.ImageOrientationPatient = decimals([*plane.right, *plane.down])
    header.PixelSpacing = decimals([plane.spacing[1], plane.spacing[0]])  # between rows, then between columns
    header.SliceThickness = header.get("SliceThickness") or decimals([plane.thickness])[0]
    header.SpacingBetweenSlices = decimals([source.distance])[0]
