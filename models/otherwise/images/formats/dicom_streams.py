"""Check the size that compressed pixels declare: decoders reserve this size, not that of the DICOM header."""

from __future__ import annotations

import struct

from otherwise.errors import ImageError

_SEARCHED = 4096
_SOF = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
"""Markers of frames of JPEG (ISO 10918-1, table B.1) and JPEG-LS (ISO 14495-1)."""
_MOST_COMPONENTS = 4


def check_stream(fragment: bytes, rows: int, columns: int) -> None:
    """Refuse a fragment that begins a JPEG, JPEG-LS or JPEG 2000 stream of more pixels than the header declares.

    Fragments that begin none (RLE, or the rest of a frame) pass.

    Raises:
        ImageError: if it is larger, or of more than four components.
    """
    size = _jpeg(fragment) if fragment.startswith(b"\xff\xd8") else _jpeg2000(fragment)
    if size is not None and (size[0] > rows or size[1] > columns or size[2] > _MOST_COMPONENTS):
        raise ImageError(
            f"Its compressed pixels are {size[1]} x {size[0]} of {size[2]}, its header says {columns} x {rows}.",
            "Export it again.",
        )


def _jpeg(stream: bytes) -> tuple[int, int, int] | None:
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # filling, and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _SOF:
            rows, columns, components = struct.unpack_from(">HHB", stream, at + 5)
            return rows, columns, components
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _jpeg2000(stream: bytes) -> tuple[int, int, int] | None:
    """Read the size in the SIZ marker (ISO 15444-1 A.5.1), which comes first, also within the boxes of a JP2 file."""
    at = stream.find(b"\xff\x4f\xff\x51", 0, _SEARCHED)
    if at < 0 or at + 42 > len(stream):
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", stream, at + 8)
    (components,) = struct.unpack_from(">H", stream, at + 40)
    return max(0, bottom - top), max(0, right - left), components
