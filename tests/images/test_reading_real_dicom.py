"""Real radiographs and CT, against independent decoders; skipped where the files are not at hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.encaps import generate_pixel_data_frame

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.reading import read_image


def pixels_by_pillow(path: Path, bits: int) -> np.ndarray:
    """Stored values of a JPEG 2000 file, decoded without GDCM; Pillow shifts them up to 16 bits."""
    codestream = next(generate_pixel_data_frame(pydicom.dcmread(path).PixelData, 1))
    return np.asarray(PIL.Image.open(io.BytesIO(codestream))).astype(int) >> (16 - bits)


def rows_and_columns(image: Image, slice_index: int = 0) -> np.ndarray:
    return image.array[0, :, :, slice_index].T


@pytest.mark.parametrize(("name", "bits"), [("RG1_J2KI", 15), ("RG3_J2KR", 10)])
def test_jpeg2000_radiographs_are_decoded_and_inverted(real_dicom: Path, name: str, bits: int) -> None:
    path = real_dicom / "cr" / f"{name}.dcm"
    image = read_image(path)
    assert (image.id, image.dimension, image.geometry.spacing) == (name, 2, (1, 1, 1))
    assert np.array_equal(rows_and_columns(image), 2**bits - 1 - pixels_by_pillow(path, bits))


def test_jpeg2000_mammogram_is_decoded(real_dicom: Path) -> None:
    path = real_dicom / "mg" / "MG1_J2KI.dcm"
    image = read_image(path)
    assert image.array.shape == (1, 3064, 4664, 1)
    assert np.array_equal(rows_and_columns(image), pixels_by_pillow(path, 12))


def test_bone_and_heart_are_brighter_than_lung(real_dicom: Path) -> None:
    """What MONOCHROME1 is about, seen on the chest radiograph: the spine and heart against the lungs beside them."""
    chest = rows_and_columns(read_image(real_dicom / "cr" / "RG1_small_derived.dcm")).astype(float)
    height, width = chest.shape
    rows = slice(int(0.35 * height), int(0.5 * height))
    spine = chest[rows, int(0.47 * width) : int(0.53 * width)].mean()
    right_lung = chest[rows, int(0.22 * width) : int(0.32 * width)].mean()
    assert spine > right_lung + 3000


def test_ct_series(real_dicom: Path) -> None:
    image = read_image(real_dicom / "ct_series")
    headers = sorted(
        (pydicom.dcmread(path) for path in (real_dicom / "ct_series").iterdir()),
        key=lambda header: float(header.ImagePositionPatient[2]),
    )
    assert image.array.shape == (1, 512, 512, 3)
    assert image.geometry.spacing == pytest.approx((0.810547, 0.810547, 1.0))
    for k, header in enumerate(headers):
        hounsfield = header.pixel_array.astype(int) * int(header.RescaleSlope) + int(header.RescaleIntercept)
        assert np.array_equal(rows_and_columns(image, k), hounsfield)
        x, y, z = (float(part) for part in header.ImagePositionPatient)
        np.testing.assert_allclose(image.geometry.to_ras(np.array([0, 0, k])), (-x, -y, z), atol=1e-9)
    assert image.array.max() > 500  # bone
    assert -1100 < np.median(image.array) < 100  # air and tissue


@pytest.mark.parametrize("name", ["CT1_UNC", "CT2_UNC", "CT_small", "MR_small"])
def test_single_slices(real_dicom: Path, name: str) -> None:
    header = pydicom.dcmread(real_dicom / "other" / f"{name}.dcm")
    image = read_image(real_dicom / "other" / f"{name}.dcm")
    values = header.pixel_array * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0))
    assert np.array_equal(rows_and_columns(image), values)
    assert image.dimension == 2
    assert image.geometry.spacing[:2] == pytest.approx(tuple(header.PixelSpacing)[::-1])
    assert image.geometry.spacing[2] == pytest.approx(float(header.SliceThickness))


def test_other_objects_and_mixed_folders(real_dicom: Path) -> None:
    with pytest.raises(ImageError, match="kind SEG"):
        read_image(real_dicom / "other" / "ct_series_liver_seg.dcm")
    with pytest.raises(ImageError, match="4 series"):
        read_image(real_dicom / "other")
    with pytest.raises(ImageError, match="no DICOM images"):
        read_image(real_dicom)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_jpeg2000(real_dicom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], share: float) -> None:
    whole = (real_dicom / "cr" / "RG3_J2KR.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.dcm")
    assert "\n" not in str(caught.value)
    assert "".join(capfd.readouterr()) == ""


def test_damaged_jpeg2000_does_not_print(real_dicom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray((real_dicom / "cr" / "RG3_J2KR.dcm").read_bytes())
    for start in range(2000, len(content), 50_000):
        content[start : start + 500] = bytes(500)
    (tmp_path / "a.dcm").write_bytes(content)
    with contextlib.suppress(ImageError):
        read_image(tmp_path / "a.dcm")
    assert "".join(capfd.readouterr()) == ""
