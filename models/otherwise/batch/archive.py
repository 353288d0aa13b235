"""The content of an image of an archive, independent of its name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from otherwise.images.listing import FoundImage


@dataclass(frozen=True)
class Content:
    """The content of an image.

    Attributes:
        image: The image, without files of the same bytes.
        digest: SHA-256 over its files' digests.
        copies: Names of other places in the archive where the same slices lie.
    """

    image: FoundImage
    digest: str
    copies: tuple[str, ...] = ()


def read_content(image: FoundImage, archive: Path) -> Content:
    """Return the content of an image, identified by a digest of its bytes.

    Files of a series that hold the same bytes are one slice: a copy of a series has the series' own identity.

    Raises:
        OSError: if a file cannot be read.
    """
    if not image.series:
        digests = [_digest(file) for file in image.files]
        return Content(image, hashlib.sha256("".join(digests).encode()).hexdigest())
    first: dict[str, Path] = {}
    for file in image.files:
        first.setdefault(_digest(file), file)
    again = {*image.files, *(image.dicom.copies if image.dicom else ())} - set(first.values())
    folders = {file.parent for file in again} - {file.parent for file in first.values()}
    places = sorted(folder.relative_to(archive).as_posix() for folder in folders)
    digest = hashlib.sha256("".join(sorted(first)).encode()).hexdigest()
    copies = tuple(f"{place}#{image.name.rpartition('#')[2]}" for place in places)
    return Content(replace(image, files=tuple(first.values())), digest, copies)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
