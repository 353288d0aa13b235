"""NRRD files: check one before Slicer reads it (a damaged one can end the application), and write voxels and geometry.

Format: teem.sourceforge.net/nrrd/format.html. Only what the server sends is accepted: header and voxels in one file,
raw or gzip.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

MOST_HEADER = 1 << 20
_BYTES = {
    "int8": 1, "signed char": 1, "uint8": 1, "unsigned char": 1, "uchar": 1,
    "int16": 2, "short": 2, "uint16": 2, "unsigned short": 2, "ushort": 2,
    "int32": 4, "int": 4, "uint32": 4, "unsigned int": 4, "uint": 4, "float": 4,
    "int64": 8, "long long": 8, "longlong": 8, "uint64": 8, "unsigned long long": 8, "double": 8,
}  # fmt: skip
_NAMES = {
    "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
    "i8": "int64", "u8": "uint64", "f4": "float", "f8": "double",
}  # fmt: skip


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
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        expected = _BYTES[fields["type"].lower()]
        encoding = fields.get("encoding", "raw").lower()
    except (KeyError, ValueError) as error:
        raise NrrdError(f"{path.name} has a damaged header.") from error
    if "data file" in fields or "datafile" in fields:
        raise NrrdError(f"{path.name} keeps its voxels in another file.")
    if not sizes or min(sizes) < 1 or encoding not in ("raw", "gzip", "gz"):
        raise NrrdError(f"{path.name} has a damaged header.")
    for size in sizes:
        expected *= size
    if _length(path, begin, encoding, expected) != expected:
        raise NrrdError(f"{path.name} is incomplete.")
    return fields


def channels(fields: dict[str, str]) -> int:
    """How many values a voxel has."""
    kinds, sizes = fields.get("kinds", "").split(), fields.get("sizes", "").split()
    if len(kinds) != len(sizes):
        return 1
    counts = [int(size) for kind, size in zip(kinds, sizes) if kind.lower() not in ("domain", "space", "list")]
    return counts[0] if counts else 1


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


def write_segments(path: Path, labels: np.ndarray, affine: np.ndarray, names: dict[int, str]) -> Path:
    """Write a label map ``(k, j, i)`` as a segmentation (``.seg.nrrd``), one segment for each name."""
    pairs = {"Segmentation_MasterRepresentation": "Binary labelmap"}
    extent = " ".join(f"0 {edge - 1}" for edge in reversed(labels.shape))
    for number, (value, name) in enumerate(names.items()):
        told = {"ID": f"Segment_{value}", "Name": name, "LabelValue": value, "Layer": 0, "Extent": extent}
        pairs.update({f"Segment{number}_{key}": str(entry) for key, entry in told.items()})
    return write(path, labels, affine, pairs=pairs)


def write_sequence(path: Path, images: list[np.ndarray], affine: np.ndarray, values: list[float]) -> Path:
    """Write images ``(k, j, i)`` as a sequence (``.seq.nrrd``) with an index value each."""
    told = " ".join(f"{value:g}" for value in values)
    pairs = {
        "axis 0 index type": "numeric",
        "axis 0 index values": told,
        "DataNodeClassName": "vtkMRMLScalarVolumeNode",
    }
    return write(path, np.stack(images, axis=-1), affine, "list", pairs)


def _length(path: Path, begin: int, encoding: str, expected: int) -> int:
    """Bytes of voxels; reading stops once there are more than expected."""
    length = 0
    try:
        with path.open("rb") as file:
            file.seek(begin)
            source = file if encoding == "raw" else gzip.GzipFile(fileobj=file)
            while length <= expected:
                block = source.read(1 << 22)
                if not block:
                    break
                length += len(block)
    except (OSError, EOFError, zlib.error) as error:
        raise NrrdError(f"{path.name} is damaged.") from error
    return length
