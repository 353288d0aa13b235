"""Group DICOM files to images, and images to studies.

An image is a stack of files of a series, or one file. IDs are digests of DICOM's UIDs, which may identify the patient;
nothing else that identifies a patient is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from otherwise.errors import ImageError
from otherwise.images.formats.dicom import is_image, read_header


@dataclass(frozen=True)
class StudyImage:
    """One image of a study.

    Attributes:
        id: 12 hexadecimal digits.
        paths: Its files.
        modality: DICOM modality, such as MG.
        view: Laterality and view, such as ``R MLO``; empty where unknown.
        frames: Slices, or frames of its one file.
        number: Number of the series; orders a study.
        copies: Further files that hold slices of ``paths`` again.
    """

    id: str
    paths: tuple[Path, ...]
    modality: str
    view: str
    frames: int
    number: int
    copies: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Study:
    """Images of one examination.

    Attributes:
        id: 12 hexadecimal digits.
        images: Images in the order of their series.
    """

    id: str
    images: tuple[StudyImage, ...]


@dataclass(frozen=True)
class DicomFile:
    """Attributes that decide to which image a DICOM file belongs.

    Attributes:
        path: The file.
        study: UID.
        series: UID.
        instance: UID.
        plane: Rows, columns and orientation (rounded); slices of one volume share them. None: it has no place in space.
        position: Position of the first pixel in millimetres.
        modality: DICOM modality.
        view: Laterality and view.
        frames: Number of frames.
        number: Number of the series.
    """

    path: Path
    study: str
    series: str
    instance: str
    plane: tuple[float, ...] | None
    position: tuple[float, ...]
    modality: str
    view: str
    frames: int
    number: int


def describe_dicom(path: Path) -> DicomFile | None:
    """Read the attributes that decide to which image a DICOM file belongs; return None if it has no image.

    Raises:
        ImageError: if its header lacks them.
        Exception: any error of pydicom for a damaged file.
    """
    header = read_header(path)
    if not is_image(header):
        if "SOPClassUID" in header:
            return None
        raise ImageError("Its header has no size.", "Copy or export it again.")
    words = [str(header.get(name, "") or "") for name in ("ImageLaterality", "ViewPosition")]
    words[0] = words[0] or str(header.get("Laterality", "") or "")
    return DicomFile(
        path=path,
        study=str(header.get("StudyInstanceUID", "")),
        series=str(header.get("SeriesInstanceUID", "")),
        instance=str(header.get("SOPInstanceUID", "")),
        plane=_plane(header),
        position=tuple(float(value) for value in header.get("ImagePositionPatient") or ()),
        modality=str(header.get("Modality", "") or "OT"),
        view=" ".join(word for word in words if word),
        frames=int(header.get("NumberOfFrames", 1) or 1),
        number=int(header.get("SeriesNumber", 0) or 0),
    )


def group_studies(files: Iterable[DicomFile]) -> list[Study]:
    """Group DICOM files to images and studies, in the order of their first file."""
    studies: dict[str, dict[str, list[DicomFile]]] = {}
    for file in files:
        studies.setdefault(file.study, {}).setdefault(file.series, []).append(file)
    found = []
    for uid, series in studies.items():
        images = [image for members in series.values() for image in _images(members)]
        found.append(Study(digest(uid), tuple(sorted(images, key=lambda image: (image.number, image.view)))))
    return found


def digest(uid: str) -> str:
    """Return 12 hexadecimal digits for a UID of DICOM, which may identify the patient."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def _plane(header: Dataset) -> tuple[float, ...] | None:
    if not (header.get("ImagePositionPatient") and header.get("ImageOrientationPatient")):
        return None
    orientation = (round(float(value), 2) + 0.0 for value in header.ImageOrientationPatient)
    return (float(header.get("Rows", 0)), float(header.get("Columns", 0)), *orientation)


def _images(members: list[DicomFile]) -> list[StudyImage]:
    """Group slices of one size and orientation; every other file is an image by itself."""
    if any(member.plane is None or member.frames > 1 for member in members):
        return [_image([member], member.instance) for member in members]
    stacks: dict[tuple[float, ...] | None, list[DicomFile]] = {}
    for member in members:
        stacks.setdefault(member.plane, []).append(member)
    largest = max(stacks.values(), key=len)
    return [
        _image(stack, stack[0].series if stack is largest and len(stack) > 1 else stack[0].instance)
        for stack in stacks.values()
    ]


def _image(part: list[DicomFile], uid: str) -> StudyImage:
    slices: dict[tuple[object, ...], DicomFile] = {}
    copies = []
    for member in part:
        key = (member.instance or member.path, member.position)
        if slices.setdefault(key, member) is not member:
            copies.append(member.path)
    first = part[0]
    return StudyImage(
        id=digest(uid or first.path.name),
        paths=tuple(member.path for member in slices.values()),
        modality=first.modality,
        view=first.view,
        frames=len(slices) if len(slices) > 1 else first.frames,
        number=first.number,
        copies=tuple(copies),
    )
