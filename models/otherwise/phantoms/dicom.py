"""Phantoms as DICOM: one Secondary Capture file for a radiograph, one CT file for a slice, one series for a volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_folder, atomic_path
from otherwise.images.image import Image
from otherwise.images.itk import swap_ras_lps

GREY_STEPS = 65535
"""Grey values from 0 to 1 are stored in 16 bits."""


def write_dicom(image: Image, path: Path) -> Path:
    """Write a phantom's image as DICOM; all identifiers follow from its name and voxels.

    Planes of grey values are Secondary Capture images (PS3.3 A.8.1) of modality MG whose rescale slope leads back to
    [0, 1]; planes and volumes in HU are CT images (PS3.3 A.3).

    Args:
        image: One channel: a plane with values in [0, 1], or a plane or volume in whole HU from -1024 to 3071.
        path: Target file (plane) or folder (volume); replaced as a whole.

    Raises:
        ImageError: if the voxels are something else.
        WriteError: if the disk refuses.
    """
    plane = image.dimension == 2
    low, high = (-1024, 3071) if _in_hounsfield(image) else (0, 1)
    if image.array.shape[0] != 1 or image.array.min() < low or image.array.max() > high:
        raise ImageError(f"Image {image.id} is no phantom (values beyond {low} to {high}).", "Write it as NIfTI.")
    slices = _slices(image)
    if plane:
        with atomic_path(path) as temporary:
            next(slices).save_as(temporary, write_like_original=False)
    else:
        with atomic_folder(path) as temporary:
            for dataset in slices:
                dataset.save_as(temporary / f"{dataset.InstanceNumber:04d}.dcm", write_like_original=False)
    return path


def _slices(image: Image) -> Iterator[FileDataset]:
    affine = swap_ras_lps(image.geometry.affine)
    spacing = image.geometry.spacing
    for number in range(image.geometry.shape[2]):
        dataset = _dataset(image, number)
        dataset.PixelSpacing = _decimals([spacing[1], spacing[0]])  # between rows, then between columns
        dataset.SliceThickness = _decimals([spacing[2]])[0]
        dataset.ImageOrientationPatient = _decimals([*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1])])
        dataset.ImagePositionPatient = _decimals(affine[:3, 3] + number * affine[:3, 2])
        yield dataset


def _dataset(image: Image, number: int) -> FileDataset:
    grey = not _in_hounsfield(image)
    kind = SecondaryCaptureImageStorage if grey else CTImageStorage
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = _uid(image, "instance", str(number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = _uid(image, "study")
    dataset.SeriesInstanceUID = _uid(image, "series")
    dataset.FrameOfReferenceUID = _uid(image, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Modality = "MG" if grey else "CT"
    dataset.PatientName = "Phantom^Synthetic"
    dataset.PatientID = image.id
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.Manufacturer = ""
    dataset.SeriesDescription = "Synthetic phantom, no patient"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = number + 1
    dataset.ImageType = ["DERIVED", "SECONDARY"] if grey else ["DERIVED", "SECONDARY", "AXIAL"]
    if grey:
        dataset.ConversionType = "SYN"
        dataset.BurnedInAnnotation = "NO"
        stored, slope, intercept, unit = np.round(image.array[0, :, :, 0] * GREY_STEPS), 1 / GREY_STEPS, 0.0, "US"
    else:
        dataset.KVP = None
        dataset.AcquisitionNumber = 1
        stored, slope, intercept, unit = image.array[0, :, :, number].astype(np.int32) + 1024, 1.0, -1024.0, "HU"
    dataset.RescaleSlope, dataset.RescaleIntercept = _decimals([slope, intercept])
    dataset.RescaleType = unit
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = stored.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.ascontiguousarray(stored.T.astype("<u2")).tobytes()
    return dataset


def _in_hounsfield(image: Image) -> bool:
    """Return whether an image is CT: a volume, or a plane of whole numbers as a scanner stores them."""
    return image.dimension == 3 or bool(np.issubdtype(image.array.dtype, np.integer))


def _uid(image: Image, *parts: str) -> pydicom.uid.UID:
    return generate_uid(entropy_srcs=[image.id, image.sha256, *parts])


def _decimals(numbers: np.ndarray | list[float]) -> list[DSfloat]:
    """Format numbers as DICOM's decimal strings, of 16 characters at most (PS3.5 6.2)."""
    return [DSfloat(float(number), auto_format=True) for number in numbers]
