"""Read MetaImage (.mha, .mhd), as ITK writes it.

ITK's reader is not used, since it returns uninitialised memory for a damaged file.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.formats.limits import BoundedFile, check_geometry, check_size, open_beside, plain, read_text
from otherwise.images.image import Image
from otherwise.images.itk import swap_ras_lps

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_HEADER_BYTES = 2**16


def begins_metaimage(head: bytes) -> bool:
    """Return whether a file with this beginning is MetaImage."""
    return b"NDims" in head and b"=" in head


def read_metaimage(path: Path, id: str, max_bytes: int) -> Image:
    """Read one volume or plane.

    Raises:
        ImageError: if fields are missing or impossible, or the voxels are truncated or in another folder.
        Exception: ValueError or zlib.error for damaged content.
    """
    with path.open("rb") as beginning:
        fields, start = _read_header(beginning.read(_HEADER_BYTES))
    size = [int(count) for count in fields["DimSize"].split()]
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if len(size) not in (2, 3) or int(fields["NDims"]) != len(size):
        raise ImageError(f"It has {fields['NDims']} dimensions.", "Export the one volume you mean.")
    kind = fields["ElementType"].removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise ImageError(f"Voxels of type {kind} are unknown.", "Convert it to .nrrd.")
    big = _flag(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if big else "<")
    check_size((*size, channels), dtype.itemsize, max_bytes)
    geometry = check_geometry((*size, 1)[:3], _affine(fields, len(size)))

    bytes_wanted = math.prod(size) * channels * dtype.itemsize
    data_path, offset = _data_file(path, fields, start)
    with open_beside(path, data_path.name) as opened:
        file = BoundedFile(opened)
        file.seek(offset)
        if not _flag(fields, "BinaryData", default="True"):
            raw = read_text(file, math.prod(size) * channels, dtype)
        elif _flag(fields, "CompressedData"):
            raw = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(file.read(), bytes_wanted)
        else:
            if int(fields.get("HeaderSize", "0")) == -1:
                file.seek(-bytes_wanted, 2)
            raw = file.read(bytes_wanted)
    if len(raw) < bytes_wanted:
        raise ImageError("It ends before its last voxel.", "Copy or export it again.")
    array = np.frombuffer(raw, dtype).reshape((channels, *geometry.shape), order="F")
    return Image(plain(array), geometry, id, 2 if geometry.shape[2] == 1 else 3)


def _read_header(block: bytes) -> tuple[dict[str, str], int]:
    """Return the fields and the start of the voxels; ``ElementDataFile`` is always the last field."""
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        line, newline, _ = block[start:].partition(b"\n")
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[key.strip()] = value.strip()
        start += len(line) + len(newline)
    for field in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if field not in fields:
            raise ImageError(f"Its header has no {field}.", "Copy or export it again.")
    return fields, start


def _data_file(path: Path, fields: dict[str, str], start: int) -> tuple[Path, int]:
    """Return the file of the voxels: the file itself or one beside it, nothing else on this machine."""
    name = fields["ElementDataFile"].removeprefix("./")
    skip = max(0, int(fields.get("HeaderSize", "0")))
    if name.upper() == "LOCAL":
        return path, start + skip
    if Path(name).name != name or "\\" in name or "%" in name or name.upper().startswith("LIST"):
        raise ImageError("Its voxels lie in another folder or in several files.", "Convert it to one .mha file.")
    return path.with_name(name), skip


def _affine(fields: dict[str, str], count: int) -> np.ndarray:
    """Return the affine to RAS; the file uses LPS and lists the direction of one axis after the other."""

    def numbers(default: list[float], *keys: str) -> np.ndarray:
        given = next((fields[key] for key in keys if key in fields), None)
        return np.array(default if given is None else [float(part) for part in given.split()])

    directions = numbers(np.eye(count).ravel().tolist(), "TransformMatrix", "Rotation", "Orientation")
    spacing = numbers([1.0] * count, "ElementSpacing", "ElementSize")[:count]  # some planes have three numbers
    affine = np.eye(4)
    affine[:count, :count] = directions.reshape(count, count).T * spacing
    affine[:count, 3] = numbers([0.0] * count, "Offset", "Position", "Origin")[:count]
    return swap_ras_lps(affine)


def _flag(fields: dict[str, str], *keys: str, default: str = "False") -> bool:
    return any(fields.get(key, default).lower() in ("true", "1", "t", "y", "yes") for key in keys)
