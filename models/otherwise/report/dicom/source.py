"""The DICOM instances that an explained image came from, voxel for voxel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM, DSfloat

from otherwise.errors import ImageError, OtherwiseError
from otherwise.explain.explanation import Explanation
from otherwise.images.formats.dicom import RADIOGRAPH_SPACINGS, Slice, Stack, is_dicom, locate_file, locate_series
from otherwise.images.formats.dicom_pixels import FUNCTIONAL_GROUPS
from otherwise.images.formats.limits import MAX_BYTES
from otherwise.images.image import Geometry
from otherwise.images.reading import read_image
from otherwise.images.studies import find_image

_TOLERANCE = 1e-3  # mm; geometry went through JSON and NRRD, whose numbers are exact
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
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


class DicomError(OtherwiseError):
    """An explanation cannot be written as DICOM: its source is none, is another one, or lacks something."""

    code = "dicom"
    status = 422


@dataclass(frozen=True, eq=False)
class Source:
    """A DICOM image, and which part of it an explanation covers.

    Attributes:
        stack: All slices of the image; slice k of the image is its k-th.
        low: First voxel ``(i, j, k)`` that the explanation covers; its volumes are that part of the image.
        high: One past the last.
    """

    stack: Stack
    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Slice k of the explanation's volumes is the k-th of these."""
        return self.stack.slices[self.low[2] : self.high[2]]

    @property
    def placed(self) -> bool:
        """Whether the image lies somewhere in the patient, which radiographs do not."""
        first = self.stack.slices[0]
        return first.plane.position is not None and bool(first.header.get("FrameOfReferenceUID"))

    @property
    def measured(self) -> bool:
        """Whether anybody said how large a pixel is."""
        first = self.stack.slices[0]
        told = (first.header.get(name) for name in RADIOGRAPH_SPACINGS)
        return first.plane.position is not None or any(spacing and min(spacing) > 0 for spacing in told)

    @property
    def multiframe(self) -> bool:
        """Whether all slices are frames of one file."""
        return len(self.stack.slices) > 1 and self.stack.slices[0].path == self.stack.slices[1].path

    @property
    def distance(self) -> float:
        """Between neighbouring slices, in millimetres; of one slice its thickness."""
        return float(np.linalg.norm(self.stack.affine[:3, 2]))


def locate_source(path: Path, part: str | None = None) -> Stack:
    """Find the slices of a DICOM image, as ``read_image`` does.

    Args:
        path: A file, or a folder of one series.
        part: For a folder of several images: the id of the one that is meant.

    Raises:
        DicomError: if it is no DICOM, or damaged.
        ImageError: if it is no image that ``read_image`` would read.
    """
    path = Path(path)
    if part is None and not path.exists():
        raise ImageError(f"There is no file or folder {path.name}.", "Check the path.")
    if path.is_file() and not is_dicom(path):
        raise DicomError(f"{path.name} is no DICOM file.", "DICOM objects can be written beside DICOM images only.")
    try:
        if part is not None:
            return locate_series(find_image(path, part), MAX_BYTES)
        return locate_series(sorted(path.iterdir()), MAX_BYTES) if path.is_dir() else locate_file(path, MAX_BYTES)
    except OtherwiseError:
        raise
    except Exception as error:  # parsers of damaged files raise anything
        raise DicomError(f"{path.name} cannot be read.", "Copy or export it again.") from error


def match_source(explanation: Explanation, path: Path, part: str | None = None) -> Source:
    """Find the source of an explanation, and make sure that it is the source.

    Args:
        explanation: What was explained; of a large image it may cover a box (``Explanation.place``).
        path: See ``locate_source``.
        part: See ``locate_source``.

    Raises:
        DicomError: if it is no DICOM, is another image than the explained one, or lacks the identifiers that other
            objects refer to.
        ImageError: if it cannot be read.
    """
    stack = locate_source(path, part)
    covered = explanation.volumes.original.geometry
    place = explanation.place
    low = place.low if place else (0, 0, 0)
    high = place.high if place else covered.shape
    whole = place.shape if place else covered.shape
    another = DicomError(
        f"{Path(path).name} is another image than the one that was explained.",
        "Give the DICOM file or series that was explained, as it was then.",
    )
    if stack.shape != whole:
        raise another
    part_of_it = Geometry(stack.shape, stack.affine).crop(low, high)
    if part_of_it.shape != covered.shape or not np.allclose(part_of_it.affine, covered.affine, rtol=0, atol=_TOLERANCE):
        raise another
    if read_image(path, part=part).sha256 != explanation.image_sha256:
        raise another
    source = Source(stack, low, high)
    _check_identity(source)
    return source


def references(source: Source, slices: Sequence[Slice], frame_of_reference: str | None = None) -> list[Dataset]:
    """Headers of instances in the form in which highdicom derives objects from them.

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


def pixel_measures(source: Source) -> PixelMeasuresSequence:
    """How large the voxels are (PS3.3 C.7.6.16.2.1)."""
    plane = source.slices[0].plane
    distance = decimals([source.distance])[0]
    return PixelMeasuresSequence((plane.spacing[1], plane.spacing[0]), plane.thickness, distance)


def plane_orientation(source: Source) -> PlaneOrientationSequence:
    """How all slices are turned (PS3.3 C.7.6.16.2.4)."""
    plane = source.slices[0].plane
    return PlaneOrientationSequence("PATIENT", [*plane.right, *plane.down])


def plane_position(one: Slice, corner: tuple[int, int] = (0, 0)) -> PlanePositionSequence:
    """Where a slice begins (PS3.3 C.7.6.16.2.3), or its part from a column and row on; at the origin if nowhere."""
    plane = one.plane
    origin = np.zeros(3) if plane.position is None else plane.position
    first = origin + corner[0] * plane.spacing[0] * plane.right + corner[1] * plane.spacing[1] * plane.down
    return PlanePositionSequence("PATIENT", first.tolist())


def decimals(numbers: Iterable[float]) -> list[DSfloat]:
    """Numbers as DICOM's decimal strings, of 16 characters at most (PS3.5 6.2)."""
    return [DSfloat(float(number), auto_format=True) for number in numbers]


def _check_identity(source: Source) -> None:
    for one in source.stack.slices:
        missing = [name for name in _IDENTITY if not one.header.get(name)]
        if missing:
            raise DicomError(f"The source has no {missing[0]}.", "Export it again from where it came from.")
    if len(source.stack.slices) > 1 and not source.placed:
        raise DicomError("The source has no FrameOfReferenceUID.", "Export it again from where it came from.")


def _reference(source: Source, one: Slice, frame_of_reference: str | None) -> Dataset:
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
        header.LossyImageCompressionMethod = header.get("LossyImageCompressionMethod") or method
        header.LossyImageCompressionRatio = header.get("LossyImageCompressionRatio")
    if "NumberOfFrames" in header:
        del header.NumberOfFrames
    header.Modality = header.get("Modality") or "OT"


def _place(header: Dataset, source: Source, one: Slice, frame_of_reference: str | None) -> None:
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
