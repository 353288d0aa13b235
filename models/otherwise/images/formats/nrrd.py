"""Read and write NRRD (teem.sourceforge.net/nrrd/format.html).

Headers are read by pynrrd. Voxels are read here: ITK does not compare the checksum of compressed ones, and pynrrd
inflates whatever there is before it looks how much was declared. Written here too: pynrrd knows only ASCII names.
"""

from __future__ import annotations

import bz2
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from otherwise.errors import ImageError
from otherwise.images.formats.limits import (
    MAX_HEADER,
    Readable,
    check_geometry,
    check_size,
    open_beside,
    plain,
    read_text,
    read_voxels,
)
from otherwise.images.image import Geometry, Image, Unit
from otherwise.images.itk import itk_affine, quiet_itk, swap_ras_lps
from otherwise.images.rounding import round_in_place

_TYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32"}
_TYPES |= {"i8": "int64", "u8": "uint64", "f4": "float", "f8": "double"}
PIXELS = "pixel"
"""The unit of a space (``space units``) that counts pixels."""
_TEXT, _GZIP, _BZIP2 = ("ascii", "text", "txt"), ("gzip", "gz"), ("bzip2", "bz2")
_VECTOR = re.compile(r"\([^()]*\)")
_HEADER_BYTES = 2**20
_COMPRESSION = 2  # a sixth of the time of level 6 and a twentieth larger, on CT


def begins_nrrd(head: bytes) -> bool:
    """Return whether a file with this beginning is NRRD."""
    return head.startswith(b"NRRD00")


def read_nrrd(path: Path, id: str, max_bytes: int) -> Image:
    """Read one volume or plane; a vector axis becomes the channels.

    Raises:
        ImageError: if it holds a list of volumes, is truncated, or its header is invalid.
        Exception: any error of pynrrd, gzip or ITK for a damaged file.
    """
    with path.open("rb") as file:
        beginning = file.read(_HEADER_BYTES)
    header, start = _read_header(beginning)
    dtype = _dtype(header)
    sizes = [int(count) for count in header["sizes"]]
    check_size(sizes, dtype.itemsize, max_bytes)
    if dtype.itemsize > 1 and "endian" not in header and str(header.get("encoding", "")).lower() not in _TEXT:
        raise ImageError("Its header does not say the order of its bytes (endian).", "Add: endian: little.")
    vector = _vector_axes(header, len(sizes))
    if len(sizes) - len(vector) == 2 and int(header.get("space dimension", 0) or _space_axes(header)) == 3:
        raise ImageError("It is one plane in a space of three dimensions.", "Save it as a volume of one slice.")
    affine = affine_in(header)
    if affine is None:
        affine = _affine_of_itk(path)
    space = [count for axis, count in enumerate(sizes) if axis not in vector]
    geometry = check_geometry((*space, 1)[:3], affine)
    count = math.prod(sizes)
    with _voxel_file(path, header, start, count * dtype.itemsize) as file:
        text = str(header["encoding"]).lower() in _TEXT
        raw = read_text(file, count, dtype) if text else read_voxels(file, count * dtype.itemsize)
    array = np.moveaxis(np.frombuffer(raw, dtype).reshape(sizes, order="F"), vector, [0] * len(vector))
    dimension, modality = 2 if geometry.shape[2] == 1 else 3, str(header.get("modality", ""))
    unit: Unit = "px" if PIXELS in str(header.get("space units", "")) else "mm"
    return Image(plain(array.reshape(-1, *geometry.shape)), geometry, id, dimension, modality, unit)


def write_nrrd(
    path: Path,
    array: np.ndarray,
    geometry: Geometry,
    *,
    kind: str = "",
    list_axis: int | None = None,
    labels: Sequence[str] = (),
    units: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    compress: bool = True,
    step: float | None = None,
    unit: Unit = "mm",
) -> None:
    """Write voxels with their grid; the header is UTF-8, and equal content gives equal bytes.

    Args:
        path: Target; written directly, so give a temporary name.
        array: ``(i, j, k)``, and one axis more, the first, where ``kind`` is given, and for ``list_axis``.
        geometry: Grid of the axes i, j, k; written as left-posterior-superior in as many digits as it takes.
        kind: NRRD kind of a first axis that is not spatial, such as "vector" or "RGB-color".
        list_axis: Axis (0 or the last) of the images of a sequence.
        labels: Label of each axis.
        units: Unit of each axis.
        extra: Further ``key:=value`` pairs.
        compress: Whether to compress by gzip.
        step: Round floats to multiples of it, see ``images.rounding``; None: do not round.
        unit: Unit of the geometry.

    Raises:
        OSError: if the file cannot be written.
    """
    affine = swap_ras_lps(geometry.affine)
    kinds = ["domain", "domain", "domain"]
    directions = ["(" + ",".join(repr(float(part)) for part in affine[:3, axis]) + ")" for axis in range(3)]
    if kind:
        kinds.insert(0, kind)
        directions.insert(0, "none")
    if list_axis is not None:
        at = 0 if list_axis == 0 else len(kinds)
        kinds.insert(at, "list")
        directions.insert(at, "none")
    lines = [
        "NRRD0005",
        f"type: {_TYPES[array.dtype.str[1:]]}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(count) for count in array.shape),
        "space directions: " + " ".join(directions),
        "kinds: " + " ".join(kinds),
        "endian: little",
        f"encoding: {'gzip' if compress else 'raw'}",
        "space origin: (" + ",".join(repr(float(part)) for part in affine[:3, 3]) + ")",
    ]
    if unit == "px":
        lines.append("space units: " + " ".join(3 * [f'"{PIXELS}"']))
    if any(labels):
        lines.append("labels: " + " ".join(f'"{_quoted(label)}"' for label in labels))
    if any(units):
        lines.append("units: " + " ".join(f'"{_quoted(unit)}"' for unit in units))
    lines += [f"{key}:={_escaped(value)}" for key, value in (extra or {}).items()]
    little = array.dtype.newbyteorder("<")
    with path.open("wb") as file:
        file.write("\n".join([*lines, "", ""]).encode())
        compressor = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS | 16) if compress else None
        for part in _parts(array.T):  # NRRD's first axis is the fastest; in parts, so that no second copy is held
            ordered = np.array(part, dtype=little, order="C")
            voxels = (ordered if step is None else round_in_place(ordered, step)).data
            file.write(compressor.compress(voxels) if compressor else voxels)
        if compressor:
            file.write(compressor.flush())


def _parts(array: np.ndarray, most: int = 2**18) -> Iterator[np.ndarray]:
    """Split an array along its first axis, and further axes if needed, into parts of at most ``most`` voxels."""
    if array.size <= most or array.ndim == 1:
        yield array
    elif array[0].size > most:
        for slab in array:
            yield from _parts(slab, most)
    else:
        step = max(1, most // max(1, array[0].size))
        for start in range(0, len(array), step):
            yield array[start : start + step]


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', "'")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _read_header(beginning: bytes) -> tuple[Mapping[str, Any], int]:
    """Return the fields of a header, which is UTF-8, and where it ends.

    pynrrd takes ASCII only, and no spaces within vectors, which Teem and so ITK accept.
    """
    lines, start = [], 0
    for line in io.BytesIO(beginning):
        start += len(line)
        text = line.decode("utf-8", "replace")
        lines.append(_VECTOR.sub(lambda vector: "".join(vector.group().split()), text))
        if not text.strip():
            break
    return nrrd.read_header(iter(lines)), start


def _dtype(header: Mapping[str, Any]) -> np.dtype:
    """Return the type of the voxels; NRRD has a dozen names for each."""
    name = str(header["type"]).removeprefix("signed ").replace("unsigned ", "u").replace("long long", "longlong")
    name = name.removesuffix("_t").removesuffix(" int")
    short = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
    short |= {"longlong": "i8", "ulonglong": "u8", "float": "f4", "double": "f8"}
    short |= {f"{sign}int{8 * size}": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)}
    if name not in short:
        raise ImageError(f"Voxels of type {header['type']} are unknown.", "Export it with real numbers as voxels.")
    return np.dtype(short[name]).newbyteorder(">" if header.get("endian") == "big" else "<")


def _vector_axes(header: Mapping[str, Any], dimension: int) -> list[int]:
    """Return the axis, if any, that is not spatial by its kind or its missing direction."""
    kinds = [str(kind) for kind in header.get("kinds", [])]
    directions = header.get("space directions")
    if kinds and all(kind not in ("???", "none") for kind in kinds):
        axes = [axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space")]
    elif directions is not None:
        axes = np.flatnonzero(np.isnan(np.asarray(directions, np.float64)).any(axis=1)).tolist()
    else:
        axes = []
    if any(kinds[axis : axis + 1] in (["list"], ["time"]) for axis in axes) or dimension - len(axes) not in (2, 3):
        raise ImageError("It holds a list of volumes (a sequence or segmentation).", "Export the one volume you mean.")
    if len(axes) > 1 or any(kinds[axis : axis + 1] == ["complex"] for axis in axes):
        raise ImageError(f"Its voxels are of kind {' '.join(kinds)}.", "Export it with real numbers as voxels.")
    return axes


def _space_axes(header: Mapping[str, Any]) -> int:
    """Return the dimensions of the space that the header names, by the length of its origin or directions."""
    origin, directions = header.get("space origin"), header.get("space directions")
    if origin is not None:
        return len(np.asarray(origin))
    return 0 if directions is None else int(np.asarray(directions).shape[-1])


@contextmanager
def _voxel_file(path: Path, header: Mapping[str, Any], start: int, size: int) -> Iterator[Readable]:
    """Open the voxels' bytes in the file itself or one beside it, nothing else on this machine."""
    name = str(header.get("data file", header.get("datafile", ""))).removeprefix("./")
    if name and (Path(name).name != name or "\\" in name or "%" in name or name.startswith("LIST")):
        raise ImageError("Its voxels lie in another folder or in several files.", "Convert it to one .nrrd file.")
    lines, skipped = (int(header.get(f"{what} skip", header.get(f"{what}skip", 0))) for what in ("line", "byte"))
    encoding = str(header.get("encoding", "")).lower()
    if encoding not in ("raw", *_TEXT, *_GZIP, *_BZIP2):
        raise ImageError(f"Its encoding ({encoding or 'none'}) is unknown.", "Export it as raw or gzip.")
    if lines or (skipped and encoding != "raw") or not -1 <= skipped <= MAX_HEADER:
        raise ImageError("Its header skips lines or bytes (line skip, byte skip).", "Export it without.")
    with open_beside(path, name) if name else path.open("rb") as file:
        file.seek(0 if name else start)
        if skipped == -1:  # the voxels are what the file ends with
            file.seek(-size, 2)
        else:
            file.seek(skipped, 1)
        if encoding in _GZIP:
            with gzip.GzipFile(fileobj=file) as gzipped:
                yield gzipped
        elif encoding in _BZIP2:
            with bz2.BZ2File(file) as bzipped:
                yield bzipped
        else:
            yield file


def _affine_of_itk(path: Path) -> np.ndarray:
    """Return the affine that ITK, and so Slicer, assumes for a header without full geometry."""
    import SimpleITK as sitk  # noqa: N813  (90 MB: only where it is needed)

    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    with quiet_itk():
        reader.ReadImageInformation()
    return itk_affine(reader.GetSpacing(), reader.GetDirection(), reader.GetOrigin())


def affine_in(header: Mapping[str, Any]) -> np.ndarray | None:
    """Return the affine to RAS of a header; None where it lacks a known space or three directions."""
    directions, origin = header.get("space directions"), header.get("space origin")
    if directions is None or origin is None:
        return None
    rows = np.asarray(directions, np.float64)
    rows = rows[~np.isnan(rows).all(axis=1)]
    signs = {
        "right-anterior-superior": (1, 1, 1),
        "ras": (1, 1, 1),
        "left-anterior-superior": (-1, 1, 1),
        "las": (-1, 1, 1),
        "left-posterior-superior": (-1, -1, 1),
        "lps": (-1, -1, 1),
    }.get(str(header.get("space", "")).lower())
    place = np.asarray(origin, dtype=np.float64)
    if signs is None or rows.shape != (3, 3) or place.shape != (3,):
        return None
    affine = np.eye(4)
    affine[:3, :3] = rows.T
    affine[:3, 3] = place
    return np.diag([*signs, 1.0]) @ affine + 0.0
