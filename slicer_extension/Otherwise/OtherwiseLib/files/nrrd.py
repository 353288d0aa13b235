"""NRRD files: read and written without Slicer, so on any thread; checked, since a damaged one can end the application.

Format: teem.sourceforge.net/nrrd/format.html. Only what the server sends is accepted: header and voxels in one file,
raw or gzip.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

MOST_HEADER = 1 << 20
MOST_BYTES = 1 << 34
BLOCK = 1 << 22
_TYPES = {
    "int8": "i1", "signed char": "i1", "uint8": "u1", "unsigned char": "u1", "uchar": "u1",
    "int16": "i2", "short": "i2", "uint16": "u2", "unsigned short": "u2", "ushort": "u2",
    "int32": "i4", "int": "i4", "uint32": "u4", "unsigned int": "u4", "uint": "u4", "float": "f4",
    "int64": "i8", "long long": "i8", "longlong": "i8", "uint64": "u8", "unsigned long long": "u8", "double": "f8",
}  # fmt: skip
_NAMES = {
    "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
    "i8": "int64", "u8": "uint64", "f4": "float", "f8": "double",
}  # fmt: skip


class Voxels(NamedTuple):
    """What a file holds.

    Attributes:
        voxels: ``(k, j, i)``, with channels as a further last axis; a list of volumes as a further first axis.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
        listed: Whether there is such a first axis.
    """

    voxels: np.ndarray
    affine: np.ndarray
    listed: bool


class NrrdError(Exception):
    """A file is no NRRD file, or not whole."""


def read_header(path: Path) -> tuple[dict[str, str], int]:
    """Read the fields of a header.

    Returns:
        The fields by name in lower case (not the key/value pairs), and where the voxels begin.

    Raises:
        NrrdError: if there is no header.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_HEADER)
    except OSError as error:
        raise NrrdError(f"{path.name} is missing.") from error
    end = text.find(b"\n\n")
    if not text.startswith(b"NRRD000") or end < 0:
        raise NrrdError(f"{path.name} is no NRRD file.")
    fields = {}
    for line in text[:end].decode("ascii", "replace").splitlines()[1:]:
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields, end + 2


def check(path: Path) -> dict[str, str]:
    """Make sure that a file holds all the voxels that its header announces.

    Returns:
        The fields of the header.

    Raises:
        NrrdError: saying what is wrong.
    """
    fields, begin = read_header(path)
    _voxels(path, fields, begin)
    return fields


def read(path: Path) -> Voxels:
    """Read voxels and geometry.

    Raises:
        NrrdError: if the file is damaged, or anything else than volumes in LPS coordinates.
    """
    fields, begin = read_header(path)
    array = _voxels(path, fields, begin)
    kinds = fields.get("kinds", "domain domain domain").lower().split()
    spatial = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space")]
    listed = [axis for axis, kind in enumerate(kinds) if kind == "list"]
    others = [axis for axis in range(len(kinds)) if axis not in (*spatial, *listed)]
    if len(kinds) != array.ndim or len(spatial) != 3 or len(listed) > 1 or len(others) > 1:
        raise NrrdError(f"{path.name} is no volume.")
    # Slowest first here, fastest first in the file: so axis n of the file is the last but n of the array.
    order = [array.ndim - 1 - axis for axis in (*listed, *reversed(spatial), *others)]
    return Voxels(np.ascontiguousarray(array.transpose(order)), _affine(path, fields, spatial), bool(listed))


def write(
    path: Path, voxels: np.ndarray, affine: np.ndarray, kind: str = "vector", pairs: dict[str, str] | None = None
) -> Path:
    """Write voxels and geometry, and nothing else: no name, no date, no tag of a patient.

    Args:
        path: Ends in ``.nrrd``.
        voxels: ``(k, j, i)`` or ``(k, j, i, channels)``.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
        kind: Of the last axis, where there are channels; ``list`` for a sequence of images.
        pairs: Key/value pairs for Slicer.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    axes = [f"({','.join(repr(float(value)) for value in lps[:3, axis])})" for axis in range(3)]
    sizes = [str(edge) for edge in reversed(voxels.shape[:3])]
    kinds = ["domain"] * 3
    if voxels.ndim == 4:
        axes, sizes, kinds = ["none", *axes], [str(voxels.shape[3]), *sizes], [kind, *kinds]
    voxels = np.ascontiguousarray(voxels.astype(voxels.dtype.newbyteorder("<"), copy=False))
    header = [
        "NRRD0004",
        f"type: {_NAMES[voxels.dtype.str[1:]]}",
        f"dimension: {voxels.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(sizes)}",
        f"space directions: {' '.join(axes)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: ({','.join(repr(float(value)) for value in lps[:3, 3])})",
        *(f"{key}:={value}" for key, value in (pairs or {}).items()),
    ]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n\n").encode("ascii"))
        # The least compression: on a loopback or a hospital's network time is the scarcer good.
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, filename="", mtime=0) as packed:
            packed.write(voxels.tobytes())
    return path


def write_segments(
    path: Path,
    labels: np.ndarray,
    affine: np.ndarray,
    names: dict[int, str],
    colours: Sequence[tuple[float, float, float]],
) -> Path:
    """Write a label map ``(k, j, i)`` as a segmentation (``.seg.nrrd``), one segment for each name.

    Each segment gets one of ``colours`` (red, green, blue in [0, 1]), since Slicer would draw one at random.
    """
    pairs = {"Segmentation_MasterRepresentation": "Binary labelmap"}
    extent = " ".join(f"0 {edge - 1}" for edge in reversed(labels.shape))
    for number, (value, name) in enumerate(names.items()):
        colour = " ".join(f"{part:g}" for part in colours[number % len(colours)])
        fields = {
            "ID": f"Segment_{value}",
            "Name": name,
            "Color": colour,
            "ColorAutoGenerated": 0,
            "LabelValue": value,
            "Layer": 0,
            "Extent": extent,
        }
        pairs.update({f"Segment{number}_{key}": str(entry) for key, entry in fields.items()})
    return write(path, labels, affine, pairs=pairs)


def write_sequence(path: Path, images: list[np.ndarray], affine: np.ndarray, values: list[float]) -> Path:
    """Write images ``(k, j, i)`` as a sequence (``.seq.nrrd``) with an index value each."""
    text = " ".join(f"{value:g}" for value in values)
    pairs = {
        "axis 0 index type": "numeric",
        "axis 0 index values": text,
        "DataNodeClassName": "vtkMRMLScalarVolumeNode",
    }
    return write(path, np.stack(images, axis=-1), affine, "list", pairs)


def _voxels(path: Path, fields: dict[str, str], begin: int) -> np.ndarray:
    """All voxels, in the shape of the file, slowest axis first; not one more is unpacked than the header announces."""
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        dtype = np.dtype(_TYPES[fields["type"].lower()]).newbyteorder(">" if fields.get("endian") == "big" else "<")
        encoding = fields.get("encoding", "raw").lower()
    except (KeyError, ValueError) as error:
        raise NrrdError(f"{path.name} has a damaged header.") from error
    if "data file" in fields or "datafile" in fields:
        raise NrrdError(f"{path.name} keeps its voxels in another file.")
    if not sizes or min(sizes) < 1 or encoding not in ("raw", "gzip", "gz"):
        raise NrrdError(f"{path.name} has a damaged header.")
    expected = math.prod(sizes) * dtype.itemsize
    if expected > MOST_BYTES:
        raise NrrdError(f"{path.name} announces more voxels than can be shown.")
    data = np.empty(expected, np.uint8)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            blocks = iter(lambda: file.read(BLOCK), b"")
            length = _fill(memoryview(data), blocks if encoding == "raw" else _unpacked(blocks))
    except (OSError, EOFError, zlib.error) as error:
        raise NrrdError(f"{path.name} is damaged.") from error
    if length != expected:
        raise NrrdError(f"{path.name} is incomplete.")
    return data.view(dtype).reshape(sizes[::-1]).astype(dtype.newbyteorder("="), copy=False)


def _fill(target: memoryview, blocks: Iterable[bytes]) -> int:
    """Fill a buffer block by block; large copies at once would hold up the other threads."""
    length = 0
    for block in blocks:
        if length + len(block) > len(target):
            return length + len(block)
        target[length : length + len(block)] = block
        length += len(block)
    return length


def _unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for packed in blocks:
        while packed:
            yield stream.decompress(packed, BLOCK)
            packed = stream.unconsumed_tail
    # Only at the end of the stream has its checksum been compared.
    while not stream.eof:
        rest = stream.decompress(b"", BLOCK)
        if not rest:
            raise EOFError
        yield rest


def _affine(path: Path, fields: dict[str, str], spatial: list[int]) -> np.ndarray:
    """From voxel index to RAS millimetres."""
    try:
        if fields["space"].lower() not in ("left-posterior-superior", "lps"):
            raise ValueError("space")
        vectors = re.findall(r"none|\([^)]*\)", fields["space directions"])
        columns = [[float(part) for part in vectors[axis].strip("()").split(",")] for axis in spatial]
        origin = [float(part) for part in fields["space origin"].strip("()").split(",")]
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = np.array(columns).T, origin
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError("geometry")
    except (KeyError, ValueError, IndexError) as error:
        raise NrrdError(f"{path.name} does not say where it lies.") from error
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
