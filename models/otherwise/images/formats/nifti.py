"""NIfTI-1 and NIfTI-2, single files, plain or gzipped.

Voxels are read here and not by ITK, which returns uninitialised memory for a truncated file without a word.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import nibabel
import numpy as np

from otherwise.errors import ImageError
from otherwise.images.formats.limits import MAX_HEADER, check_geometry, check_real, check_size, plain, read_voxels
from otherwise.images.image import Image
from otherwise.images.itk import is_rectangular

_MAGIC = {b"n+1\0": nibabel.Nifti1Header, b"n+2\0": nibabel.Nifti2Header}
_COLORS = {128: 3, 2304: 4}  # data types RGB24 and RGBA32


def begins_nifti(head: bytes) -> bool:
    """Return whether a file that begins so is NIfTI in one file."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def read_nifti(path: Path, id: str, max_bytes: int) -> Image:
    """Read one volume or plane; a vector (fifth) axis or RGB becomes the channels.

    Raises:
        ImageError: if it is a series of volumes, complex, truncated, or its header asks for the impossible.
        Exception: whatever nibabel or gzip raise on a damaged file.
    """
    with path.open("rb") as probe:
        compressed = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        header = _read_header(file.read(544))
        channels = _COLORS.get(int(header["datatype"]), 0)
        dtype = np.dtype(np.uint8) if channels else header.get_data_dtype()
        check_real(dtype)
        shape = tuple(int(count) for count in header.get_data_shape())
        check_size((*shape, channels or 1), dtype.itemsize, max_bytes)
        volume = _volume_shape(shape)
        geometry = check_geometry(volume[:3], _affine(header))
        start = int(header.get_data_offset())
        if not 0 <= start <= MAX_HEADER:  # in a compressed file, everything before would have to be decompressed
            raise ImageError("Its voxels begin at an impossible place.", "Correct vox_offset in its header.")
        file.seek(start)
        count = math.prod(shape) * (channels or 1)
        raw = read_voxels(file, count * dtype.itemsize)
    voxels = np.frombuffer(raw, dtype)
    if channels:
        array = voxels.reshape((channels, *volume[:3]), order="F")  # red, green and blue of a voxel lie side by side
    else:
        array = np.moveaxis(voxels.reshape(volume, order="F"), -1, 0)
    return Image(plain(_scaled(array, header)), geometry, id, 2 if geometry.shape[2] == 1 else 3)


def _read_header(block: bytes) -> nibabel.Nifti1Header:
    for start, length in ((344, 348), (4, 540)):
        kind = _MAGIC.get(block[start : start + 4])
        if kind is not None and len(block) >= length:
            # check=False: nibabel would mend a spacing of zero to one and tell only its log.
            return kind(block[:length], check=False)
    raise ImageError("It has no NIfTI header.", "Give a single .nii or .nii.gz file.")


def _volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """``(i, j, k, channels)`` for a shape of NIfTI's axes x, y, z, time, vector."""
    x, y, z, time, vector, *more = (*shape, 1, 1, 1, 1, 1)[: max(5, len(shape))]
    if time > 1 or any(count > 1 for count in more):
        raise ImageError(f"It is a series of {time} volumes.", "Extract the one volume you mean.")
    return x, y, z, vector


def _affine(header: nibabel.Nifti1Header) -> np.ndarray:
    """The affine to RAS that ITK, and so Slicer, would choose.

    That is the sform if it has right angles and is of scanner space (code 1) or the only one; else the qform; and with
    neither, NIfTI's "method 1": the voxel sizes along left, posterior, superior.
    """
    sform, sform_code = header.get_sform(coded=True)
    qform_code = int(header["qform_code"])
    if sform is not None and (qform_code == 0 or (sform_code == 1 and is_rectangular(sform))):
        return np.asarray(sform)
    if qform_code > 0:
        return np.asarray(header.get_qform())
    x, y, z = (float(size) for size in header["pixdim"][1:4])
    return np.diag([-x, -y, z, 1.0])


def _scaled(array: np.ndarray, header: nibabel.Nifti1Header) -> np.ndarray:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0 or (slope, inter) == (1.0, 0.0):
        return array
    if not math.isfinite(inter):
        raise ImageError("The intercept of its values is not a number.", "Correct scl_inter in its header.")
    scaled = np.empty(array.shape, np.float32)
    for k in range(array.shape[3]):  # the product has 8 bytes a voxel, so not all of it at once
        scaled[..., k] = array[..., k] * slope + inter
    return scaled
