"""The DICOM instances that an explained image came from, voxel for voxel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError, OtherwiseError
from otherwise.explain.explanation import Explanation
from otherwise.images.formats.dicom import Slice, Stack, is_dicom, locate_file, locate_series
from otherwise.images.formats.limits import MAX_BYTES
from otherwise.images.image import Geometry
from otherwise.images.listing import find_image
from otherwise.images.reading import read_image

_TOLERANCE = 1e-3  # mm; geometry went through JSON and NRRD, whose numbers are exact
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class DicomError(OtherwiseError):
    """An explanation cannot be written as DICOM: its source is not DICOM, has changed, or lacks something."""

    code = "dicom"
    status = 422


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """A DICOM image, and the part of it that an explanation covers.

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
        """Return whether the image lies somewhere in the patient, which radiographs do not."""
        first = self.stack.slices[0]
        return first.plane.position is not None and bool(first.header.get("FrameOfReferenceUID"))

    @property
    def measured(self) -> bool:
        """Return whether anybody said how large a pixel is."""
        return self.stack.slices[0].plane.measured

    @property
    def multiframe(self) -> bool:
        """Return whether all slices are frames of one file."""
        return len(self.stack.slices) > 1 and self.stack.slices[0].path == self.stack.slices[1].path

    @property
    def distance(self) -> float:
        """Return the distance of neighbouring slices in millimetres; of one slice its thickness."""
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
            return locate_series(find_image(path, part).files, MAX_BYTES)
        return locate_series(sorted(path.iterdir()), MAX_BYTES) if path.is_dir() else locate_file(path, MAX_BYTES)
    except OtherwiseError:
        raise
    except Exception as error:  # parsers of damaged files raise anything
        raise DicomError(f"{path.name} cannot be read.", "Copy or export it again.") from error


def match_source(explanation: Explanation, path: Path, part: str | None = None) -> SourceSeries:
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
    source = SourceSeries(stack, low, high)
    _check_identity(source)
    return source


def _check_identity(source: SourceSeries) -> None:
    for one in source.stack.slices:
        missing = [name for name in _IDENTITY if not one.header.get(name)]
        if missing:
            raise DicomError(f"The source has no {missing[0]}.", "Export it again from where it came from.")
    if len(source.stack.slices) > 1 and not source.placed:
        raise DicomError("The source has no FrameOfReferenceUID.", "Export it again from where it came from.")
