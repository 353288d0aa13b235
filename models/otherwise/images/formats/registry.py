"""The formats of images, one line each. Content decides the format; endings serve damaged files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images.formats.dicom import read_dicom_file
from otherwise.images.formats.dicom_file import begins_dicom
from otherwise.images.formats.metaimage import begins_metaimage, read_metaimage
from otherwise.images.formats.nifti import begins_nifti, read_nifti
from otherwise.images.formats.nrrd import begins_nrrd, read_nrrd
from otherwise.images.formats.picture import begins_picture, read_picture
from otherwise.images.image import Image

HEAD_BYTES = 1024
"""Bytes at the beginning of a file that decide its format."""


@dataclass(frozen=True)
class ImageFormat:
    """A file format.

    Attributes:
        name: Display name.
        endings: Endings of file names, in lower case. All of them may be followed by ``.gz`` where ``gzipped``.
        begins: Whether the first ``HEAD_BYTES`` bytes of a file are of this format.
        read: Read a file: path, id of the image, most bytes of voxels.
        gzipped: Whether gzipped files are read.
    """

    name: str
    endings: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[Path, str, int], Image]
    gzipped: bool = False


FORMATS = (
    ImageFormat("DICOM", (".dcm", ".dicom", ".ima"), begins_dicom, read_dicom_file),  # its preamble may look like TIFF
    ImageFormat("PNG, JPEG or TIFF", (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff"), begins_picture, read_picture),
    ImageFormat("NRRD", (".nrrd", ".nhdr"), begins_nrrd, read_nrrd),
    ImageFormat("NIfTI", (".nii",), begins_nifti, read_nifti, gzipped=True),
    ImageFormat("MetaImage", (".mha", ".mhd"), begins_metaimage, read_metaimage),
)
"""In the order in which they are tried."""

ENDINGS = tuple(
    ending + more for known in FORMATS for ending in known.endings for more in ("", ".gz") if known.gzipped or not more
)
"""Endings of file names that promise an image."""
HEADER_ENDINGS = (".nhdr", ".mhd")
"""Endings of headers whose voxels are in a file beside them."""

UNREAD_ENDINGS = {
    **dict.fromkeys((".bmp", ".gif", ".webp", ".jp2", ".j2k", ".heic", ".svs"), "Save it as PNG or TIFF."),
    **dict.fromkeys((".hdr", ".img", ".mgh", ".mgz", ".mnc", ".par", ".rec"), "Convert it to NIfTI (.nii.gz)."),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "Unpack it, and give the folder."),
}
"""Endings of images and archives that are not read, with the remedy."""

_NAME_ENDINGS = re.compile(
    r"(\.gz)?$|".join(re.escape(ending) for ending in sorted(ENDINGS, key=len, reverse=True)) + r"(\.gz)?$",
    re.IGNORECASE,
)
_ARCHIVES = (
    (b"PK\x03\x04", "zip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"\x1f\x9d", "compress"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
)
_UNREAD = (
    (b"BM", "BMP picture"),
    (b"GIF8", "GIF picture"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000 picture"),
    (b"RIFF", "WebP picture"),
    (b"\x89HDF", "HDF5 file"),
)


def image_name(path: Path) -> str:
    """Return the name of a file or folder without the endings of image formats."""
    path = Path(path)
    name = path.name if path.name not in ("", "..") else path.resolve().name  # a link has its own name
    return strip_ending(name) or "image"


def strip_ending(name: str) -> str:
    """Return a file name without the endings of image formats."""
    return _NAME_ENDINGS.sub("", name)


def has_image_ending(name: str) -> bool:
    """Return whether a file name ends like an image's, in upper or lower case."""
    return name.lower().endswith(ENDINGS)


def read_head(path: Path) -> bytes:
    """Return the first ``HEAD_BYTES`` bytes of a file.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def format_of(head: bytes) -> ImageFormat | None:
    """Return the format of a file with this beginning; None if it is not supported.

    Args:
        head: Its first ``HEAD_BYTES`` bytes. Where they are gzipped, the content decides, and the format has to be one
            that is read gzipped.
    """
    gzipped = head.startswith(b"\x1f\x8b")
    content = _inflated(head) if gzipped else head
    return next((known for known in FORMATS if known.begins(content) and (known.gzipped or not gzipped)), None)


def require_format(path: Path) -> ImageFormat:
    """Return the format of a file.

    Raises:
        ImageError: if it is not supported; the error names the kind of the file where it is known.
        OSError: if it cannot be read.
    """
    head = read_head(path)
    if not head:
        raise ImageError("It is empty.", "Copy or export it again.")
    found = format_of(head)
    if found is not None:
        return found
    if head.startswith(b"\x1f\x8b"):
        content = _inflated(head)
        inside = next((known.name for known in FORMATS if known.begins(content)), None)
        if inside:
            raise ImageError(f"It is a gzipped {inside} file.", "Unpack it with gunzip.")
        if path.name.lower().endswith(".nii.gz") or not content:  # damaged: the reader says where
            return next(known for known in FORMATS if known.gzipped)
        raise ImageError("It is a gzipped file, but no image that we know is in it.", "Unpack it with gunzip.")
    for beginning, name in _ARCHIVES:
        if head.startswith(beginning):
            raise ImageError(f"It is a {name} archive.", "Unpack it, and give what is in it.")
    for beginning, name in _UNREAD:
        if head.startswith(beginning):
            raise ImageError(f"It is a {name}.", "Save it as PNG, TIFF, NRRD or NIfTI.")
    if head[344:348] == b"ni1\0":
        raise ImageError("It is the header of a NIfTI pair (.hdr and .img).", "Convert it to one .nii file.")
    if 348 in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
        raise ImageError("It is the header of an Analyze image.", "Convert it to one .nii file.")
    remedy = UNREAD_ENDINGS.get(path.suffix.lower(), "Give DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF.")
    raise ImageError("It is in no format that we know, or damaged.", remedy)


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""
