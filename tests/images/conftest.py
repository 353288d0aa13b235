"""Made-up DICOM files, and the real ones where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    return make_dicom


def make_dicom(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> Path:
    """Write pixels ``(rows, columns[, 3])`` or ``(frames, rows, columns)``, uncompressed unless PixelData is given."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.pop("SOPClassUID", SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    data = Dataset()
    data.file_meta = meta
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), tags.pop("SeriesInstanceUID", generate_uid())
    data.Modality, data.PatientName, data.PatientID = "OT", "Doe^Jane", "4711"
    color = photometric in ("RGB", "YBR_FULL", "YBR_FULL_422")
    frames = pixels.shape[0] if pixels.ndim == 3 and not color else 1
    data.Rows, data.Columns = pixels.shape[:2] if color else pixels.shape[-2:]
    data.SamplesPerPixel = 3 if color else 1
    if color:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = data.BitsStored = pixels.itemsize * 8
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data["PixelData"].VR = "OW"
    data["PixelData"].is_undefined_length = meta.TransferSyntaxUID.is_encapsulated
    pydicom.dcmwrite(path, data, write_like_original=False)
    return path
