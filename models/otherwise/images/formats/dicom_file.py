"""Open a DICOM file without trusting the lengths that it declares.

pydicom reserves as many bytes as an element declares, up to 4 GiB, and decompresses a deflated file (PS3.5 A.5)
without a limit.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info as read_meta
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from otherwise.errors import ImageError
from otherwise.images.formats.limits import MAX_HEADER, BoundedFile

_VALUE_REPRESENTATIONS = frozenset((b"UI", b"UL", b"CS", b"DA", b"TM", b"LO", b"SH", b"DT", b"PN", b"OB", b"US", b"IS"))
_FIRST_ELEMENTS = frozenset((0x0000, 0x0001, 0x0005, 0x0006, 0x0008, 0x0012, 0x0013, 0x0014, 0x0016, 0x0018))
_PIXEL_DATA = 0x7FE00008  # and above: pixels as floats, doubles, and the usual ones


def begins_dicom(head: bytes) -> bool:
    """Return whether a file with this beginning is DICOM, with the preamble or without, as old archives write it."""
    if head[128:132] == b"DICM":
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if len(head) < 132 or group not in (0x0002, 0x0008) or element not in _FIRST_ELEMENTS:
        return False
    return head[4:6] in _VALUE_REPRESENTATIONS or (group == 0x0008 and 0 < int.from_bytes(head[4:8], "little") < 256)


def open_dicom(path: Path, max_bytes: int | None = None) -> Dataset:
    """Read a file.

    Args:
        path: DICOM file, with or without the preamble.
        max_bytes: Limit for the voxels of a deflated file; None: everything but the pixels.

    Raises:
        ImageError: if a deflated file exceeds ``max_bytes``.
        Exception: any error of pydicom or zlib for a damaged file.
    """
    with path.open("rb") as file:
        bounded: Any = BoundedFile(file)  # to pydicom, a file
        preamble = read_preamble(bounded, force=True)
        meta = read_meta(bounded)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            bounded.seek(0)
            data: Dataset = pydicom.dcmread(bounded, stop_before_pixels=max_bytes is None, force=preamble is None)
            if "TransferSyntaxUID" not in data.file_meta:  # as pydicom has guessed
                data.file_meta.TransferSyntaxUID = _uncompressed(data)
            return data
        limit = MAX_HEADER if max_bytes is None else MAX_HEADER + max_bytes
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(file.read(), limit)
        if inflater.unconsumed_tail and max_bytes is not None:
            raise ImageError("It holds more than its pixels once it is decompressed.", "Export it again.")
    stop = None if max_bytes is not None else _at_pixels
    data = read_dataset(io.BytesIO(content), is_implicit_VR=False, is_little_endian=True, stop_when=stop)
    data.file_meta = meta
    data.is_implicit_VR, data.is_little_endian = False, True
    return data


def _uncompressed(data: Dataset) -> UID:
    if not data.is_little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if data.is_implicit_VR else ExplicitVRLittleEndian


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> Any:
    return tag >= _PIXEL_DATA
