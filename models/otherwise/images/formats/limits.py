"""Checks of headers that every reader makes before it reads voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Geometry
from otherwise.images.itk import is_rectangular
from otherwise.images.memory import available_bytes

MAX_BYTES = 2**31
"""Largest size of the voxels in bytes: a 512 x 512 CT of 4000 slices."""
MAX_SLICES = 20_000
"""Most frames of a DICOM file or files of a folder: each takes time before voxels are read."""
MAX_HEADER = 2**26
"""Most bytes before the voxels of a file that declares their position, or of a compressed DICOM header."""

_TRAILER = 2**20
_DIGITS = 32
"""Most characters of a number in text, with its separator."""
_PIECE = 2**24
_TRIED = 2**26
"""An image of at most so many bytes is read regardless of the free memory."""


class Readable(Protocol):
    """A binary file, compressed or not."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes."""
        ...


class BoundedFile:
    """A file whose reads are limited to the bytes that are left, so that readers reserve no more.

    Args:
        file: File open for binary reading, at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, file.seek(0, 2)
        self.name = ""  # pydicom keeps the name; the path stays private
        file.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """Read at most ``size`` bytes; the whole rest if negative."""
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))

    def seek(self, place: int, whence: int = 0) -> int:
        """Move to a position."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close it."""
        self._file.close()


@dataclass(frozen=True)
class DeclaredSize:
    """Size of an image as its header declares it, before voxels are read.

    Attributes:
        shape: Number of voxels along every axis, channels included, in the order of the file.
        itemsize: Bytes of one stored voxel.
    """

    shape: tuple[int, ...]
    itemsize: int

    @property
    def voxels(self) -> int:
        """Return the number of voxels, channels included."""
        return math.prod(self.shape)

    @property
    def peak_bytes(self) -> int:
        """Return the most memory that reading and checking the image takes, see ``peak_bytes``."""
        return peak_bytes(self.voxels, self.itemsize)

    def __str__(self) -> str:
        return " x ".join(str(count) for count in self.shape if count > 1) or "1"


SizeCheck = Callable[[DeclaredSize], None]
_CHECKS: ContextVar[tuple[SizeCheck, ...]] = ContextVar("_CHECKS", default=())


@contextmanager
def reading_size_checked_by(check: SizeCheck) -> Iterator[None]:
    """Call ``check`` with the size of every image read within the block, before its voxels are read.

    Args:
        check: May wait, and raises to refuse the image. Checks of an outer block are called first.
    """
    token = _CHECKS.set((*_CHECKS.get(), check))
    try:
        yield
    finally:
        _CHECKS.reset(token)


def peak_bytes(count: int, itemsize: int) -> int:
    """Return the most memory that reading and checking an image takes, in bytes.

    Args:
        count: Number of voxels, channels included.
        itemsize: Bytes of one stored voxel.

    In memory at the same time are: the stored voxels, the same as 4-byte floats after rescaling, one copy (slices
    joined, or axes put in order), and one byte a voxel for the search for NaN.
    """
    return count * (itemsize + 2 * max(4, itemsize) + 1)


def check_size(shape: Sequence[int], itemsize: int, max_bytes: int) -> None:
    """Refuse an image that declares no voxels or too many, before they are read.

    Args:
        shape: Number of voxels along every axis, channels included.
        itemsize: Bytes of one voxel.
        max_bytes: Largest size of the voxels.

    Raises:
        ImageError: if an axis is empty, the product exceeds the limit, or reading takes more memory than there is.
    """
    counts = [int(count) for count in shape]
    if not counts or min(counts) < 1:
        raise ImageError(f"It has no voxels (shape {tuple(counts)}).", "Give an image of at least one voxel.")
    size = math.prod(counts) * itemsize
    if size > max_bytes:
        raise ImageError(
            f"Its header declares {' x '.join(map(str, counts))} voxels, {size / 2**30:.1f} GiB, "
            f"and the limit is {max_bytes / 2**30:.1f} GiB.",
            "Crop it, or correct its header.",
        )
    declared = DeclaredSize(tuple(counts), itemsize)
    for check in _CHECKS.get():
        check(declared)
    _check_memory(declared)


def _check_memory(declared: DeclaredSize) -> None:
    if declared.peak_bytes <= _TRIED:
        return
    free = available_bytes()
    if declared.peak_bytes > free:
        raise ImageError(
            f"Reading {declared} voxels takes about {declared.peak_bytes / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free.",
            "Crop or resample it, or use a larger machine.",
        )


def check_slices(count: int, what: str) -> None:
    """Refuse an implausible number of frames or files.

    Raises:
        ImageError: if there are more than ``MAX_SLICES``.
    """
    if not 0 < count <= MAX_SLICES:
        raise ImageError(f"It has {count} {what}, and the limit is {MAX_SLICES}.", "Give the one volume you mean.")


def check_geometry(shape: Sequence[int], affine: np.ndarray) -> Geometry:
    """Return a grid that ITK and Slicer accept.

    Args:
        shape: Voxels along i, j, k.
        affine: ``(4, 4)`` to RAS.

    Raises:
        ImageError: if spacing or direction are zero or not a number, or the axes are not at right angles.
    """
    i, j, k = (int(count) for count in shape)
    geometry = Geometry((i, j, k), affine)
    if not is_rectangular(geometry.affine):
        raise ImageError(
            "Its axes are not at right angles (a sheared or tilted grid).",
            "Resample it onto a regular grid, for example with Slicer's module Resample Scalar Volume.",
        )
    return geometry


def open_beside(header: Path, name: str) -> BinaryIO:
    """Open the file beside a header that holds its voxels.

    Raises:
        ImageError: if there is none of that name.
    """
    try:
        return header.with_name(name).open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise ImageError(f"The file of its voxels, {name}, is not there.", "Put it beside the header.") from None


def read_voxels(file: Readable, size: int) -> bytearray:
    """Read exactly ``size`` bytes, then a compressed stream to its end, so that its checksum is verified.

    Raises:
        ImageError: if the file is shorter, or much longer.
        Exception: zlib.error, EOFError or OSError where compressed content is damaged.
    """
    voxels = bytearray()
    # In parts, so that memory is reserved only for bytes that exist.
    while piece := file.read(min(_PIECE, size - len(voxels))):
        voxels += piece
    if len(voxels) < size:
        raise ImageError("It ends before its last voxel.", "Copy or export it again.")
    if len(file.read(_TRAILER)) == _TRAILER:
        raise ImageError("It goes on behind its last voxel.", "Correct its header, or export it again.")
    return voxels


def read_text(file: Readable, count: int, dtype: np.dtype) -> bytes:
    """Read numbers in text, separated by white space or commas.

    Args:
        file: File at the first number.
        count: Required number of numbers.
        dtype: Their type.

    Raises:
        ImageError: if there are fewer, more, or other characters.
    """
    text = file.read(_DIGITS * count + _TRAILER)
    words = text.replace(b",", b" ").split()
    if len(words) != count:
        raise ImageError(f"It holds {len(words)} values, and its header says {count}.", "Copy or export it again.")
    try:
        numbers = np.array(words).astype(np.float64 if dtype.kind == "f" else np.int64)
    except ValueError:
        raise ImageError("Its values are no numbers.", "Copy or export it again.") from None
    return numbers.astype(dtype).tobytes()


def check_real(dtype: np.dtype) -> None:
    """Refuse voxels that are no real numbers.

    Raises:
        ImageError: if they are complex, text, or records.
    """
    if dtype.kind not in "iuf":
        raise ImageError(f"Its voxels are no real numbers ({dtype}).", "Give magnitudes or grey values.")


def plain(array: np.ndarray) -> np.ndarray:
    """Return voxels as a C-ordered array of native integers or float32."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=np.float32)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
