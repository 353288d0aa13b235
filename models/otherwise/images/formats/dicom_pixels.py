"""Read DICOM pixels in the units of their modality.

GDCM (in SimpleITK) supports all transfer syntaxes of PS3.5, but its handling of values depends on the SOP class: it
rescales some enhanced images by their first frame and others not at all, and refuses signed MONOCHROME1 of 12 bits. So
GDCM decodes the pixel module alone, as a secondary capture, and the values are converted here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_pixel_data_fragment
from pydicom.filebase import DicomBytesIO
from pydicom.pixel_data_handlers.util import apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from otherwise.errors import ImageError
from otherwise.images.formats.dicom_decoding import Decoder, decode
from otherwise.images.formats.dicom_file import open_dicom
from otherwise.images.formats.dicom_streams import check_stream
from otherwise.images.formats.limits import plain

_PIXEL_MODULE = (
    *("SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *(f"{color}PaletteColorLookupTableDescriptor" for color in ("Red", "Green", "Blue")),
    *(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
)
FUNCTIONAL_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def read_pixels(path: Path, max_bytes: int, decoder: Decoder) -> np.ndarray:
    """Read the pixels of one file, all frames in the order of the file.

    Stored values are rescaled by slope and intercept, of each frame where they differ, or looked up in a modality table
    (PS3.3 C.11.1). MONOCHROME1 is inverted within the range of the stored values, or of the table (C.7.6.3.1.2).
    Padding (C.7.5.1.1.2) is background: it is never brighter than the darkest pixel.

    Args:
        path: DICOM file whose header has been checked.
        max_bytes: Largest size of the voxels of a compressed file.
        decoder: Decoder of compressed files.

    Returns:
        ``(channels, columns, rows, frames)`` integers or float32; colours as RGB.

    Raises:
        ImageError: if pixels are missing.
        Exception: any error of pydicom or GDCM for a damaged file.
    """
    data = open_dicom(path, max_bytes)
    _check_pixels_present(data)
    stored = _decode(data, decoder)
    if stored.shape[0] > 1:
        return plain(stored)
    padding = _padding(data, stored)
    values = _values(data, stored)
    if padding is not None and not padding.all():
        darkest = values[~padding].min()
        values[padding] = np.minimum(values[padding], darkest)
    return values


def _values(data: Dataset, stored: np.ndarray) -> np.ndarray:
    """Return stored grey values in the units of the modality; MONOCHROME1 inverted."""
    inverted = str(data.PhotometricInterpretation) == "MONOCHROME1"
    if data.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, data)
        top = 2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
        return _small(top - values.astype(np.int64)) if inverted else _small(values)
    slope, intercept = _rescale(data, stored.shape[3])
    if (slope == 1).all() and (intercept == 0).all() and not inverted:
        return plain(stored)
    ends = _stored_ends(data) if inverted else 0
    whole = (slope == np.rint(slope)).all() and (intercept == np.rint(intercept)).all()
    frames = []
    for frame in range(stored.shape[3]):  # 8 bytes a voxel on the way, so one frame at a time
        values = stored[..., [frame]].astype(np.int64)
        rescaled = (ends - values if inverted else values) * slope[frame] + intercept[frame]
        frames.append(_small(rescaled.astype(np.int64)) if whole else plain(rescaled))
    joined = np.concatenate(frames, axis=3)
    return _small(joined) if whole else joined


def _padding(data: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Return a mask of the padding among stored pixels; None if there is none."""
    value = data.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    limit = data.get("PixelPaddingRangeLimit")
    ends = [_as_stored(data, end) for end in (value, value if limit in (None, "") else limit)]
    padding = (stored >= min(ends)) & (stored <= max(ends))
    return padding if padding.any() else None


def _as_stored(data: Dataset, value: int | bytes) -> int:
    """Return a padding value in the type of the pixels; some files declare it in the other type (US or SS)."""
    number = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
    if int(data.PixelRepresentation) == 1:
        for bits in sorted({int(data.BitsAllocated), int(data.BitsStored)}, reverse=True):
            if 2 ** (bits - 1) <= number < 2**bits:
                return number - 2**bits
        return number
    return number % 2**16 if int(data.PixelRepresentation) == 0 and number < 0 else number


def functional_group(data: Dataset, frame: int, name: str) -> Dataset:
    """Return a functional group of one frame (PS3.3 C.7.6.16), its own or the shared one; empty if there is none."""
    for owner in FUNCTIONAL_GROUPS:
        groups = data.get(owner) or []
        at = frame if owner.startswith("Per") else 0
        if at < len(groups) and groups[at].get(name):
            group: Dataset = groups[at][name][0]
            return group
    return Dataset()


def _check_pixels_present(data: Dataset) -> None:
    """Refuse a truncated file, whose missing pixels decoders would fill."""
    if any(name in data for name in ("FloatPixelData", "DoubleFloatPixelData")):
        raise ImageError("It has float pixels (Float Pixel Data).", "Convert it to NIfTI, or export whole numbers.")
    if "PixelData" not in data:
        raise ImageError("It has no pixels.", "Copy or export it again.")
    pixels = data.get("PixelData")
    frames = int(data.get("NumberOfFrames", 1) or 1)
    whole = bool(pixels)
    if pixels and data.file_meta.TransferSyntaxUID.is_encapsulated:
        stream = DicomBytesIO(pixels)
        stream.is_little_endian = True
        _offset_table, *fragments = generate_pixel_data_fragment(stream)
        whole = len(fragments) >= frames
        for fragment in fragments:
            check_stream(fragment, int(data.Rows), int(data.Columns))
    elif pixels:
        count = int(data.Rows) * int(data.Columns) * frames
        # YBR_FULL_422 may be stored with two samples a pixel when uncompressed.
        samples = 2 if data.PhotometricInterpretation == "YBR_FULL_422" else int(data.get("SamplesPerPixel", 1))
        whole = len(pixels) >= count * samples * int(data.BitsAllocated) // 8
    if not whole:
        raise ImageError("It ends before its last pixel.", "Copy or export it again.")


def _decode(data: Dataset, decoder: Decoder) -> np.ndarray:
    """Return stored values ``(channels, columns, rows, frames)``, colours as RGB."""
    size = int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames", 1) or 1)
    samples, bits = int(data.get("SamplesPerPixel", 1)), int(data.BitsAllocated)
    if bits == 1 and samples == 1 and not data.file_meta.TransferSyntaxUID.is_encapsulated:
        return _unpacked_bits(data, size)
    if bits == 16 and samples > 1 and data.file_meta.TransferSyntaxUID == RLELossless:
        raise ImageError("It is in colour of 16 bits, compressed by RLE.", "Convert it to an uncompressed DICOM file.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        pydicom.dcmwrite(file, _secondary_capture(data), write_like_original=False)
        compressed = data.file_meta.TransferSyntaxUID.is_encapsulated
        array = decoder.decode(file, size) if compressed else decode(file, size)
    return array.T


def _unpacked_bits(data: Dataset, size: int) -> np.ndarray:
    """Return pixels of one bit as 0 or 1 (GDCM: 0 or 255); the lowest bit comes first (PS3.5 8.1.1)."""
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")[:size]
    return bits.reshape((1, -1, int(data.Rows), int(data.Columns))).transpose(0, 3, 2, 1)


def _secondary_capture(data: Dataset) -> Dataset:
    syntax = data.file_meta.TransferSyntaxUID
    capture = Dataset()
    capture.file_meta = FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    capture.file_meta.MediaStorageSOPClassUID = capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.file_meta.MediaStorageSOPInstanceUID = capture.SOPInstanceUID = pydicom.uid.generate_uid()
    capture.is_little_endian, capture.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    for name in _PIXEL_MODULE:
        if name in data:
            capture[name] = data[name]
    photometric = str(data.PhotometricInterpretation)
    capture.PhotometricInterpretation = "MONOCHROME2" if photometric == "MONOCHROME1" else photometric
    capture["PixelData"] = data["PixelData"]
    return capture


def _stored_ends(data: Dataset) -> int:
    """Return the sum of the lowest and the highest value that can be stored."""
    return -1 if int(data.PixelRepresentation) == 1 else 2 ** int(data.BitsStored) - 1


def _rescale(data: Dataset, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of each frame."""

    def of(frame: int, name: str, default: float) -> float:
        value = functional_group(data, frame, "PixelValueTransformationSequence").get(name, data.get(name))
        return default if value in (None, "") else float(value)

    slope = np.array([of(frame, "RescaleSlope", 1.0) for frame in range(frames)])
    intercept = np.array([of(frame, "RescaleIntercept", 0.0) for frame in range(frames)])
    if not np.isfinite([slope, intercept]).all() or (slope == 0).any():
        raise ImageError("Its rescale slope or intercept is zero or not a number.", "Correct its header and try again.")
    return slope, intercept


def _small(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the smallest of int16, uint16 and int32 that holds them."""
    low, high = int(values.min()), int(values.max())
    for dtype in (np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.ascontiguousarray(values, dtype=dtype)
    return plain(values)
