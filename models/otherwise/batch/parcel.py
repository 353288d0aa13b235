"""Folders as bytes, so that workers need no disk in common with the main process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from otherwise.images.listing import FoundImage

Parcel = dict[str, bytes]
"""Content of files by their path within a folder."""


def pack(folder: Path) -> Parcel:
    """Take every file of a folder, at every depth.

    Raises:
        OSError: if one cannot be read.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack(parcel: Parcel, folder: Path) -> None:
    """Write what :func:`pack` took; missing folders are made.

    Raises:
        OSError: if the disk is full or the folder is not writable.
    """
    for name, content in parcel.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def pack_image(image: FoundImage) -> Parcel:
    """Take the files of an image, in a folder that is called as theirs is: people know a series by it.

    Raises:
        OSError: if one cannot be read.
    """
    folder = image.files[0].resolve().parent.name or "archive"
    names = (f"{number}.dcm" if image.series else file.name for number, file in enumerate(image.files))
    return {f"{folder}/{name}": file.read_bytes() for name, file in zip(names, image.files, strict=True)}


def unpack_image(parcel: Parcel, image: FoundImage, folder: Path) -> FoundImage:
    """Write what :func:`pack_image` took into a new folder.

    Returns:
        The image, there.

    Raises:
        OSError: if the disk is full or the folder is not writable.
    """
    unpack(parcel, folder)
    return replace(image, files=tuple(folder / name for name in parcel), dicom=None)
