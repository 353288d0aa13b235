"""Open a DICOM file without believing what it says of its own lengths.

pydicom reserves as many bytes as an element declares, up to 4 GiB, and decompresses a deflated file (PS3.5 A.5) to
wherever it leads.
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
from pydicom.uid import DeflatedExplicitVRLittleEndian

from otherwise.errors import ImageError
from otherwise.images.formats.limits import MAX_HEADER, HonestFile

_PIXEL_DATA = 0x7FE00008  # and above: pixels as floats, doubles, and the usual ones


def open_dicom(path: Path, max_bytes: int | None = None) -> Dataset:
    """Read a file.

    Args:
        path: Of a file with the DICOM preamble.
        max_bytes: Limit for the voxels of a deflated file; None: everything but the pixels.

    Raises:
        ImageError: if a deflated file holds more.
        Exception: whatever pydicom or zlib raise on a damaged file.
    """
    with path.open("rb") as file:
        honest: Any = HonestFile(file)  # to pydicom, a file
        read_preamble(honest, False)
        meta = read_meta(honest)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            honest.seek(0)
            return pydicom.dcmread(honest, stop_before_pixels=max_bytes is None)
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


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> Any:
    return tag >= _PIXEL_DATA
