"""Which images a folder holds, at every depth, and what each of them is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from otherwise.batch.errors import BatchError
from otherwise.images.formats.dicom import is_dicom, is_image, read_header
from otherwise.images.reading import image_name
from otherwise.images.studies import read_studies
from otherwise.report.folder import JSON_NAME

_HEADERS = (".mhd", ".nhdr")
"""Headers whose voxels lie in a file beside them."""


@dataclass(frozen=True)
class ArchiveImage:
    """One image of an archive.

    Attributes:
        name: Where it is: its file's path within the archive, or that of a series' folder with ``#`` and the id of
            ``otherwise studies`` (``chest/ct#5d41402abc4b``).
        files: Its files; of a picture or volume the first is the one to read, and the others hold its voxels.
        series: Whether the files are the slices of one DICOM series.
    """

    name: str
    files: tuple[Path, ...]
    series: bool = False

    @property
    def id(self) -> str:
        """Name for people, as ``otherwise explain`` gives it: that of the file, or of the series' folder."""
        return image_name(self.files[0].parent if self.series else self.files[0])


@dataclass(frozen=True)
class Content:
    """What an image holds, whatever it is called.

    Attributes:
        image: The image, without files of the same bytes.
        digest: SHA-256 over its files' digests.
        copies: Names of other places in the archive where the same slices lie.
    """

    image: ArchiveImage
    digest: str
    copies: tuple[str, ...] = ()


def list_images(archive: Path, without: Path | None = None) -> list[ArchiveImage]:
    """Find the images of an archive.

    DICOM is told by its content and sorted into series; other formats are told by their extension. Hidden files, links
    to folders, DICOM objects that are no images, and folders that hold an explanation are passed over. A damaged image
    is listed.

    Args:
        archive: Looked through at every depth.
        without: A folder in it that is passed over: that of the results.

    Returns:
        Images, sorted by name.

    Raises:
        BatchError: if there is no such folder, no image in it, or a folder in it that cannot be looked into.
    """
    if not archive.is_dir():
        raise BatchError(f"There is no folder {archive.name}.", "Give the folder that holds the images.")
    files = list(_files(archive, without))
    found: list[ArchiveImage] = []
    taken: set[Path] = set()
    for study in read_studies(files):
        for image in study.images:
            taken.update(image.paths)
            place = image.paths[0].relative_to(archive)
            series = len(image.paths) > 1
            name = f"{place.parent.as_posix()}#{image.id}" if series else place.as_posix()
            found.append(ArchiveImage(name, image.paths, series))
    for file in files:
        if file not in taken and _looks_like_an_image(file):
            found.append(ArchiveImage(file.relative_to(archive).as_posix(), (file, *_voxels_of(file))))
    if not found:
        raise BatchError(
            f"There is no image in {archive.name}.", "Give a folder of DICOM, NIfTI, NRRD, MetaImage, PNG or the like."
        )
    return sorted(found, key=lambda image: image.name)


def read_content(image: ArchiveImage, archive: Path) -> Content:
    """Tell an image by its bytes.

    Files of a series that hold the same bytes are one slice: a copy of a series has the series' own identity.

    Raises:
        OSError: if a file cannot be read.
    """
    if not image.series:
        digests = [_digest(file) for file in image.files]
        return Content(image, hashlib.sha256("".join(digests).encode()).hexdigest())
    first: dict[str, Path] = {}
    copies: dict[str, None] = {}
    for file in image.files:
        kept = first.setdefault(_digest(file), file)
        if kept != file and kept.parent != file.parent:
            copies[f"{file.parent.relative_to(archive).as_posix()}#{image.name.rpartition('#')[2]}"] = None
    digest = hashlib.sha256("".join(sorted(first)).encode()).hexdigest()
    return Content(replace(image, files=tuple(first.values())), digest, tuple(copies))


def _files(folder: Path, without: Path | None) -> Iterator[Path]:
    try:
        items = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    except OSError as error:
        raise BatchError(f"{folder.name} cannot be looked into: {error.strerror}.", "Ask for the right to.") from error
    if any(item.name == JSON_NAME for item in items):
        return
    for item in items:
        if item.is_dir():
            if not item.is_symlink() and (without is None or item.resolve() != without.resolve()):
                yield from _files(item, without)
        elif item.is_file():
            yield item


def _looks_like_an_image(file: Path) -> bool:
    """By its extension; a DICOM file that has been passed over is no image if it says what else it is, or damaged."""
    try:
        if is_dicom(file):
            header = read_header(file)
            return is_image(header) or "SOPClassUID" not in header
    except Exception:  # whatever a parser raises; who explains it is told why
        return True
    return image_name(file) != file.resolve().name


def _voxels_of(file: Path) -> tuple[Path, ...]:
    if file.suffix.lower() not in _HEADERS:
        return ()
    raw = (f"{file.stem}{ending}" for ending in (".raw", ".zraw", ".raw.gz"))
    return tuple(path for path in map(file.with_name, raw) if path.is_file())


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
