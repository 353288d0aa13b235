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
    studies: dict[str, dict[str, list[tuple[Path, Dataset]]]] = {}
    for path in _files(paths):
        header = _header(path)
        if header is not None:
            series = studies.setdefault(str(header.get("StudyInstanceUID", "")), {})
            series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
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


def _header(path: Path) -> Dataset | None:
    try:
        header = read_header(path) if is_dicom(path) else None
    except Exception:  # a damaged file is no image here; who asks for it is told why
        return None
    return header if header is not None and is_image(header) else None


def _images(members: list[tuple[Path, Dataset]]) -> list[StudyImage]:
    """One image where the files are slices, else one for each file."""
    slices = len(members) > 1 and all(
        header.get("ImagePositionPatient") and header.get("ImageOrientationPatient") for _, header in members
    )
    parts = [members] if slices else [[member] for member in members]
    return [_describe(part, whole_series=slices) for part in parts]


def _describe(part: list[tuple[Path, Dataset]], whole_series: bool) -> StudyImage:
    first = part[0][1]
    uid = str(first.get("SeriesInstanceUID" if whole_series else "SOPInstanceUID", "") or part[0][0].name)
    words = [str(first.get(name, "") or "") for name in ("ImageLaterality", "ViewPosition")]
    words[0] = words[0] or str(first.get("Laterality", "") or "")
    return StudyImage(
        id=digest(uid),
        paths=tuple(path for path, _ in part),
        modality=str(first.get("Modality", "") or "OT"),
        view=" ".join(word for word in words if word),
        frames=len(part) if whole_series else int(first.get("NumberOfFrames", 1) or 1),
        number=int(first.get("SeriesNumber", 0) or 0),
    )


def digest(uid: str) -> str:
    """An id made of one of DICOM's, which may say whose image it is: 12 hexadecimal digits."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]
