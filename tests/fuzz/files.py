"""Image files to begin with: small, valid, one of every kind that is read."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

SHAPE = (7, 6, 4)


def image_files(kind: str, folder: Path) -> list[Path]:
    """Write the seeds of one kind into an empty folder."""
    return _WRITERS[kind](folder)


def _volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(np.int16)


def _nifti(folder: Path) -> list[Path]:
    colours = np.zeros((5, 4, 1), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    scaled = nibabel.Nifti1Image(_volume(), np.diag([1, 2, 3, 1]))
    scaled.header.set_slope_inter(0.5, -3)
    made = {
        "a.nii": nibabel.Nifti1Image(_volume(), np.eye(4)),
        "b.nii": nibabel.Nifti2Image(_volume().astype(np.float64), np.eye(4)),
        "c.nii": nibabel.Nifti1Image(colours, np.eye(4)),
        "d.nii": scaled,
    }
    for name, image in made.items():
        nibabel.save(image, folder / name)
    return sorted(folder.iterdir())


def _nrrd(folder: Path) -> list[Path]:
    for name, compress in (("a.nrrd", False), ("b.nrrd", True)):
        sitk.WriteImage(sitk.GetImageFromArray(_volume()), str(folder / name), useCompression=compress)
    sitk.WriteImage(sitk.GetImageFromArray(_volume(), isVector=True), str(folder / "c.nrrd"))
    raw = _volume().tobytes()
    fields = "type: short\ndimension: 3\nsizes: 7 6 4\nspacings: 1 2 3\nencoding: raw\nendian: little"
    header = f"NRRD0001\n# a comment\n{fields}\n\n"
    (folder / "d.nrrd").write_bytes(header.encode() + raw)
    return sorted(folder.iterdir())


def _metaimage(folder: Path) -> list[Path]:
    for name, compress in (("a.mha", False), ("b.mha", True)):
        sitk.WriteImage(sitk.GetImageFromArray(_volume()), str(folder / name), useCompression=compress)
    return sorted(folder.iterdir())


def _png(folder: Path) -> list[Path]:
    grey = np.random.default_rng(0).integers(0, 255, (9, 8)).astype(np.uint8)
    PIL.Image.fromarray(grey).save(folder / "a.png", dpi=(100, 100))
    PIL.Image.fromarray(grey.astype(np.uint16) * 200).save(folder / "b.png")
    PIL.Image.fromarray(grey).convert("P").save(folder / "c.png")
    PIL.Image.fromarray(np.stack([grey] * 4, -1)).save(folder / "d.png")
    return sorted(folder.iterdir())


def _jpeg(folder: Path) -> list[Path]:
    grey = np.random.default_rng(0).integers(0, 255, (17, 16)).astype(np.uint8)
    PIL.Image.fromarray(grey).save(folder / "a.jpg")
    PIL.Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "b.jpg", progressive=True)
    return sorted(folder.iterdir())


def _tiff(folder: Path) -> list[Path]:
    grey = np.random.default_rng(0).integers(0, 255, (9, 8)).astype(np.uint8)
    for name, compression in (
        ("a.tif", "raw"),
        ("b.tif", "tiff_lzw"),
        ("c.tif", "tiff_deflate"),
        ("d.tif", "packbits"),
    ):
        PIL.Image.fromarray(grey).save(folder / name, compression=compression)
    PIL.Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "e.tif")
    return sorted(folder.iterdir())


def dicom_data(pixels: np.ndarray, **tags: object) -> FileDataset:
    """An uncompressed plane, or frames, of made-up pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.7", ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset("seed", {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=False, is_little_endian=True)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "CT"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2", "1.2.1"
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW"
    return data


def _grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (16, 16)).astype(np.uint8)


def _dicom(folder: Path) -> list[Path]:
    dicom_data(_grey().astype(np.int16), RescaleSlope=2, RescaleIntercept=-1000).save_as(folder / "a.dcm")
    dicom_data(_grey(), PhotometricInterpretation="MONOCHROME1").save_as(folder / "b.dcm")
    deflated = dicom_data(_grey())
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(folder / "c.dcm")
    frames, groups = np.stack([_grey()] * 3), []
    for height in range(3):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2 * height]
        group.PlanePositionSequence = [position]
        groups.append(group)
    place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    dicom_data(frames, PerFrameFunctionalGroupsSequence=groups, **place).save_as(folder / "d.dcm")
    return sorted(folder.iterdir())


def dicom_series(folder: Path) -> list[Path]:
    """A series of four slices."""
    for number in range(4):
        place = {"ImagePositionPatient": [0, 0, 2 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        data = dicom_data(_grey(), PixelSpacing=[1, 1], **place)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.save_as(folder / f"{number}.dcm")
    return sorted(folder.iterdir())


def _encapsulated(folder: Path) -> list[Path]:
    data = dicom_data(_grey())
    data.compress(RLELossless)
    data.save_as(folder / "rle.dcm")
    for name, syntax, form, options in (
        ("jpeg", JPEGBaseline8Bit, "JPEG", {}),
        ("j2k", JPEG2000Lossless, "JPEG2000", {"no_jp2": True, "irreversible": False}),
    ):
        stream = io.BytesIO()
        PIL.Image.fromarray(_grey()).save(stream, form, **options)
        data = dicom_data(_grey())
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = encapsulate([stream.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.save_as(folder / f"{name}.dcm")
    image = sitk.GetImageFromArray(_grey()[None].astype(np.uint16))
    sitk.WriteImage(image, str(folder / "lossless.dcm"), useCompression=True, compressor="JPEG")
    return sorted(folder.iterdir())


_WRITERS = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "metaimage": _metaimage,
    "png": _png,
    "jpeg": _jpeg,
    "tiff": _tiff,
    "dicom": _dicom,
    "encapsulated": _encapsulated,
}
