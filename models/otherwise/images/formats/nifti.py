"""Read NIfTI-1 and NIfTI-2, single files, plain or gzipped.

ITK is not used, since it returns uninitialised memory for a truncated file.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np

from otherwise.errors import ImageError
from otherwise.images.formats.limits import MAX_HEADER, check_geometry, check_real, check_size, plain, read_voxels
from otherwise.images.image import Image
from otherwise.images.itk import is_rectangular

_MAGIC = {b"n+1\0": nibabel.Nifti1Header, b"n+2\0": nibabel.Nifti2Header}
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres by code of the unit of space (xyzt_units): metres, millimetres, micrometres."""
_COLORS = {128: 3, 2304: 4}  # data types RGB24 and RGBA32
_RIGHT_ANGLE = 1e-4
"""Largest cosine between axes with which ITK still prefers an sform to a qform."""
_ROUNDED = 1e-3
"""Largest share by which a voxel size in pixdim and one in the sform differ by rounding."""


def begins_nifti(head: bytes) -> bool:
    """Return whether a file with this beginning is NIfTI in one file."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def read_nifti(path: Path, id: str, max_bytes: int) -> Image:
    """Read one volume or plane; a vector (fifth) axis or RGB becomes the channels.

    Raises:
        ImageError: if it is a series of volumes, complex, truncated, or its header is invalid.
        Exception: any error of nibabel or gzip for a damaged file.
    """
    with path.open("rb") as probe:
        compressed = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        header = _read_header(file.read(544))
        code = int(header["datatype"])
        channels = _COLORS.get(code, 0)
        try:
            dtype = np.dtype(np.uint8) if channels else header.get_data_dtype()
        except nibabel.spatialimages.HeaderDataError:
            dtype = np.dtype("V")
        if dtype.itemsize == 0:
            raise ImageError(f"Its type of voxels (datatype {code}) is not read.", "Save it as float32 or int16.")
        check_real(dtype)
        shape = _shape(header)
        check_size((*shape, channels or 1), dtype.itemsize, max_bytes)
        volume = _volume_shape(shape)
        geometry = check_geometry(volume[:3], _affine(header))
        count = math.prod(shape) * (channels or 1)
        raw = _voxels(file, header, count * dtype.itemsize)
    voxels = np.frombuffer(raw, dtype)
    if channels:
        array = voxels.reshape((channels, *volume[:3]), order="F")  # red, green and blue of a voxel lie side by side
    else:
        array = np.moveaxis(voxels.reshape(volume, order="F"), -1, 0)
    return Image(plain(_scaled(array, header)), geometry, id, 2 if geometry.shape[2] == 1 else 3)


def _voxels(file: BinaryIO | gzip.GzipFile, header: nibabel.Nifti1Header, size: int) -> bytearray:
    """Read the voxels from the offset in the header.

    Some writers leave vox_offset at 0. The voxels then follow the header: at 352 bytes as the standard asks (348 and a
    flag of 4 bytes), or at 348, as ITK reads them, where the file is too short for the flag.
    """
    start, least = float(header["vox_offset"]), int(header["sizeof_hdr"])
    if not 0 <= start <= MAX_HEADER:  # in a compressed file, everything before would have to be decompressed
        raise ImageError("Its voxels begin at an impossible place.", "Correct vox_offset in its header.")
    if start >= least:
        file.seek(int(start))
        return read_voxels(file, size)
    file.seek(least)
    flag = file.read(4)
    rest = bytearray(file.read(size + 1))
    if len(rest) == size:
        return rest
    if len(rest) == size - 4:
        return bytearray(flag) + rest
    raise ImageError("Its header does not say where its voxels begin (vox_offset is 0).", "Correct vox_offset.")


def _shape(header: nibabel.Nifti1Header) -> tuple[int, ...]:
    """Return the number of voxels along each axis. Axes beyond the third with no voxels count as 1, as in ITK."""
    dimensions = [int(count) for count in header["dim"]]
    count = dimensions[0]
    if not 1 <= count <= 7:
        raise ImageError(f"Its header declares {count} dimensions.", "Correct dim in its header.")
    return tuple(max(1, size) if axis >= 3 else size for axis, size in enumerate(dimensions[1 : count + 1]))


def _read_header(block: bytes) -> nibabel.Nifti1Header:
    for start, length in ((344, 348), (4, 540)):
        kind = _MAGIC.get(block[start : start + 4])
        if kind is not None and len(block) >= length:
            # check=False: nibabel would change a spacing of zero to one and only log it.
            return kind(block[:length], check=False)
    raise ImageError("It has no NIfTI header.", "Give a single .nii or .nii.gz file.")


def _volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return ``(i, j, k, channels)`` for a shape of NIfTI's axes x, y, z, time, vector."""
    x, y, z, time, vector, *more = (*shape, 1, 1, 1, 1, 1)[: max(5, len(shape))]
    if time > 1 or any(count > 1 for count in more):
        raise ImageError(
            f"It is a series of {max((time, *more))} volumes.",
            "Extract the one volume you mean; several become the channels of one image by otherwise combine.",
        )
    return x, y, z, vector


def _affine(header: nibabel.Nifti1Header) -> np.ndarray:
    """Return the affine to RAS that ITK, and so Slicer, chooses.

    That is the sform if it has right angles and is of scanner space (code 1) or the only one; else the qform; and with
    neither, NIfTI's "method 1": the voxel sizes along left, posterior, superior.
    """
    scale = np.diag([*[_MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)] * 3, 1.0])
    sform, sform_code, qform_code = header.get_sform(), int(header["sform_code"]), int(header["qform_code"])
    if sform_code > 0 and (qform_code <= 0 or (sform_code == 1 and is_rectangular(sform, _RIGHT_ANGLE))):
        return np.asarray(scale @ _with_voxel_sizes(sform, header["pixdim"][1:4]))
    if qform_code > 0:
        return np.asarray(scale @ _qform(header))
    x, y, z = (float(size) for size in header["pixdim"][1:4])
    return np.asarray(scale @ np.diag([-x, -y, z, 1.0]))


def _with_voxel_sizes(sform: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the sform with the voxel sizes of pixdim, as ITK does where the two differ.

    Sizes that are zero or not numbers are ignored.
    """
    lengths, given = np.linalg.norm(sform[:3, :3], axis=0), np.asarray(sizes, np.float64)
    valid = np.isfinite(given) & (given != 0) & (lengths > 0)
    differ = valid & ~np.isclose(given, lengths, rtol=_ROUNDED, atol=0)
    affine = np.array(sform, np.float64)
    affine[:3, :3][:, differ] *= given[differ] / lengths[differ]
    return affine


def _qform(header: nibabel.Nifti1Header) -> np.ndarray:
    """Return the affine of the quaternion ("method 2" of nifti1.h), as ITK does.

    A rounded quaternion is longer than 1 and made unit; a negative voxel size turns its axis; qfac 0 stands for 1.
    """
    b, c, d = (float(header[f"quatern_{axis}"]) for axis in "bcd")
    square = b * b + c * c + d * d
    if square > 1.0 - 1e-7:
        a, (b, c, d) = 0.0, (value / math.sqrt(square) for value in (b, c, d))
    else:
        a = math.sqrt(1.0 - square)
    sizes = np.array(header["pixdim"][1:4], np.float64)
    sizes[2] *= -1.0 if header["pixdim"][0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = nibabel.quaternions.quat2mat([a, b, c, d]) * sizes
    affine[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


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
