"""Examine a file: an image or not, DICOM with its attributes, a header whose voxels lie in a file beside it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from otherwise.images import exclusion
from otherwise.images.formats.registry import UNREAD_ENDINGS, format_of, has_image_ending, read_head
from otherwise.images.studies import DicomFile, describe_dicom

_VOXELS = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)[ \t]*([^\r\n]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Examined:
    """The result of examining a file.

    Attributes:
        reason: Why it is no image, one of ``images.exclusion``; empty for an image.
        dicom: What a DICOM file says of itself; None for other formats.
        voxels: Name of the file beside it that holds its voxels; empty where it holds them.
    """

    reason: str = ""
    dicom: DicomFile | None = None
    voxels: str = ""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the file examined, ``path``, and the one that holds its voxels."""
        return (path, path.parent / self.voxels) if self.voxels else (path,)


ExaminedFiles = dict[tuple[str, int, int], Examined]
"""Results by path, size and time of change of files; unchanged files are not opened again."""


def examine_if_changed(entry: os.DirEntry[str], examined: ExaminedFiles) -> Examined:
    """Identify a file, or return the earlier result from ``examined`` if it has not changed."""
    path = Path(entry.path)
    try:
        status = entry.stat()
    except OSError:
        return Examined(exclusion.FORBIDDEN)
    key = (entry.path, status.st_size, status.st_mtime_ns)
    if key not in examined:
        examined[key] = examine(path)
    return examined[key]


def examine(path: Path) -> Examined:
    """Identify a file by its content and its ending."""
    promised = has_image_ending(path.name)
    try:
        head = read_head(path)
    except OSError:  # reading it gives the reason
        return Examined() if promised else Examined(exclusion.FORBIDDEN)
    known = format_of(head)
    if known is not None and known.name == "DICOM":
        return _examine_dicom(path)
    if known is None and not promised:
        return Examined(exclusion.NOT_READ if path.suffix.lower() in UNREAD_ENDINGS else exclusion.NO_IMAGES)
    return Examined(voxels=_voxels_of(path, head))


def _examine_dicom(path: Path) -> Examined:
    if path.name.upper() == "DICOMDIR":
        return Examined(exclusion.NO_IMAGE_OBJECTS)
    try:
        file = describe_dicom(path)
    except Exception:  # any error of a parser for a damaged file; reading it gives the reason
        return Examined()
    return Examined(dicom=file) if file is not None else Examined(exclusion.NO_IMAGE_OBJECTS)


def _voxels_of(path: Path, head: bytes) -> str:
    """Return the name of the file beside a header that holds its voxels; empty where there is none."""
    if not head.startswith(b"NRRD") and b"NDims" not in head:
        return ""
    given = _VOXELS.search(head)
    name = given.group(1).decode("utf-8", "replace").strip().removeprefix("./") if given else ""
    return name if Path(name).name == name and path.with_name(name or "?").is_file() and name != path.name else ""
