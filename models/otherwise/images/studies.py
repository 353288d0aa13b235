"""What images a folder of DICOM files holds: which files are one image, and which images are one study.

An image is one series whose files lie behind each other in space, or one file. Ids are digests of DICOM's own, which
may say whose image it is; nothing else that could is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from otherwise.errors import ImageError
from otherwise.images.formats.dicom import is_dicom, is_image, read_header


@dataclass(frozen=True)
class StudyImage:
    """One image of a study.

    Attributes:
        id: 12 hexadecimal digits.
        paths: Its files.
        modality: DICOM's two letters, such as MG.
        view: Laterality and view, such as ``R MLO``; empty where DICOM tells none.
        frames: Slices, or frames of its one file.
        number: Of the series; orders a study.
    """

    id: str
    paths: tuple[Path, ...]
    modality: str
    view: str
    frames: int
    number: int


@dataclass(frozen=True)
class Study:
    """Images of one examination.

    Attributes:
        id: 12 hexadecimal digits.
        images: In the order of their series.
    """

    id: str
    images: tuple[StudyImage, ...]


def read_studies(paths: Iterable[Path]) -> list[Study]:
    """Sort DICOM files into images and studies; whatever is no DICOM image is passed over.

    Args:
        paths: Files; of a folder, they are looked through at every depth.

    Returns:
        Studies in the order in which their first file was met.
    """
    studies: dict[str, dict[str, list[_File]]] = {}
    for path in _files(paths):
        file = _look(path)
        if file is not None:
            studies.setdefault(file.study, {}).setdefault(file.series, []).append(file)
    found = []
    for uid, series in studies.items():
        images = [image for members in series.values() for image in _images(members)]
        found.append(Study(digest(uid), tuple(sorted(images, key=lambda image: (image.number, image.view)))))
    return found


def find_image(folder: Path, id: str) -> tuple[Path, ...]:
    """The files of one image of a folder.

    Args:
        folder: Looked through at every depth.
        id: See ``StudyImage``; its beginning is enough where it is unique.

    Raises:
        ImageError: if there is none or more than one.
    """
    folder = Path(folder)
    images = [image for study in read_studies([folder]) for image in study.images if image.id.startswith(id)]
    if len(images) != 1:
        raise ImageError(
            f"{folder.name} holds {f'{len(images)} images' if images else 'no image'} {id!r}.",
            "otherwise studies FOLDER lists them.",
        )
    return images[0].paths


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)


@dataclass(frozen=True)
class _File:
    """What is asked of a file; read at once, since pydicom looks at a value only when it is asked for."""

    path: Path
    study: str
    series: str
    instance: str
    placed: bool
    modality: str
    view: str
    frames: int
    number: int


def _look(path: Path) -> _File | None:
    try:
        header = read_header(path) if is_dicom(path) else None
        return _describe(path, header) if header is not None and is_image(header) else None
    except Exception:  # a damaged file is no image here; who asks for it is told why
        return None


def _describe(path: Path, header: Dataset) -> _File:
    words = [str(header.get(name, "") or "") for name in ("ImageLaterality", "ViewPosition")]
    words[0] = words[0] or str(header.get("Laterality", "") or "")
    return _File(
        path=path,
        study=str(header.get("StudyInstanceUID", "")),
        series=str(header.get("SeriesInstanceUID", "")),
        instance=str(header.get("SOPInstanceUID", "")),
        placed=bool(header.get("ImagePositionPatient") and header.get("ImageOrientationPatient")),
        modality=str(header.get("Modality", "") or "OT"),
        view=" ".join(word for word in words if word),
        frames=int(header.get("NumberOfFrames", 1) or 1),
        number=int(header.get("SeriesNumber", 0) or 0),
    )


def _images(members: list[_File]) -> list[StudyImage]:
    """One image where the files are slices, else one for each file."""
    slices = len(members) > 1 and all(member.placed for member in members)
    parts = [members] if slices else [[member] for member in members]
    return [_image(part, whole_series=slices) for part in parts]


def _image(part: list[_File], whole_series: bool) -> StudyImage:
    first = part[0]
    uid = (first.series if whole_series else first.instance) or first.path.name
    return StudyImage(
        id=digest(uid),
        paths=tuple(member.path for member in part),
        modality=first.modality,
        view=first.view,
        frames=len(part) if whole_series else first.frames,
        number=first.number,
    )


def digest(uid: str) -> str:
    """An id made of one of DICOM's, which may say whose image it is: 12 hexadecimal digits."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]
