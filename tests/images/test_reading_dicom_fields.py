"""DICOM is read as pydicom reads it, over generated files of all fields that vary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixel_data_handlers.util import apply_modality_lut
from pydicom.sequence import Sequence

from otherwise.errors import ImageError
from otherwise.images.reading import read_image

WriteDicom = Callable[..., Path]


def grey(bits: int, signed: bool) -> np.ndarray:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    dtype = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    return np.random.default_rng(bits).integers(low, high, (9, 8)).astype(dtype)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("rescale", [None, (1, -1024), (0.5, 3.25)])
def test_dicom_values(
    tmp_path: Path, write_dicom: WriteDicom, bits: int, signed: bool, rescale: tuple[float, float] | None
) -> None:
    tags = {"RescaleSlope": rescale[0], "RescaleIntercept": rescale[1]} if rescale else {}
    path = write_dicom(tmp_path / "a.dcm", grey(bits, signed), BitsStored=bits, **tags)
    data = pydicom.dcmread(path)
    expected = apply_modality_lut(data.pixel_array, data) if rescale else data.pixel_array
    np.testing.assert_allclose(read_image(path).array[0, ..., 0].T, expected, rtol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("padding", "limit"), [(0, None), (4095, None), (4000, 4095), (4095, 4000)])
def test_dicom_padding_is_background(
    tmp_path: Path, write_dicom: WriteDicom, photometric: str, padding: int, limit: int | None
) -> None:
    pixels = np.random.default_rng(2).integers(1000, 3000, (9, 8)).astype(np.uint16)
    pixels[:, :2] = padding
    pixels[:, 2] = padding if limit is None else (padding + limit) // 2
    tags = {"PixelPaddingValue": padding, **({"PixelPaddingRangeLimit": limit} if limit is not None else {})}
    shown = read_image(write_dicom(tmp_path / "a.dcm", pixels, photometric, BitsStored=12, **tags)).array[0, ..., 0].T
    plain = 4095 - pixels[:, 3:].astype(int) if photometric == "MONOCHROME1" else pixels[:, 3:]
    np.testing.assert_array_equal(shown[:, 3:], plain)
    assert shown[:, :3].max() <= plain.min()


def test_dicom_padding_of_a_ct_stays_where_it_is(tmp_path: Path, write_dicom: WriteDicom) -> None:
    pixels = np.random.default_rng(2).integers(0, 2000, (9, 8)).astype(np.int16)
    pixels[0] = -2000
    path = write_dicom(tmp_path / "a.dcm", pixels, PixelPaddingValue=-2000, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(read_image(path).array[0, ..., 0].T, pixels - 1024)


def test_dicom_of_one_bit(tmp_path: Path, write_dicom: WriteDicom) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (12, 10)).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = write_dicom(
        tmp_path / "a.dcm", bits, BitsAllocated=1, BitsStored=1, PixelData=packed + b"\0" * (len(packed) % 2)
    )
    np.testing.assert_array_equal(read_image(path).array[0, ..., 0].T, bits)


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_preamble(tmp_path: Path, write_dicom: WriteDicom, implicit: bool) -> None:
    pixels = np.arange(120, dtype=np.uint16).reshape(10, 12)
    data = pydicom.dcmread(write_dicom(tmp_path / "whole.dcm", pixels))
    data.is_implicit_VR = implicit
    del data.file_meta
    data.preamble = None
    data.save_as(tmp_path / "bare", write_like_original=True)
    assert (tmp_path / "bare").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_image(tmp_path / "bare").array[0, ..., 0].T, pixels)


@pytest.mark.parametrize(
    ("units", "deltas", "spacing"),
    [
        ((3, 3), [(0.02, 0.03)], (0.2, 0.3)),
        ((3, 3), [(0.02, 0.03), (0.02, 0.03)], (0.2, 0.3)),
        ((3, 3), [(0.02, 0.03), (0.05, 0.05)], (1, 1)),
        ((4, 3), [(0.02, 0.03)], (1, 1)),
    ],
)
def test_ultrasound_regions_tell_the_spacing(
    tmp_path: Path, write_dicom: WriteDicom, units: tuple[int, int], deltas: list, spacing: tuple[float, float]
) -> None:
    regions = []
    for x, y in deltas:
        region = pydicom.Dataset()
        region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = units
        region.PhysicalDeltaX, region.PhysicalDeltaY = x, y
        regions.append(region)
    pixels = np.arange(120, dtype=np.uint8).reshape(10, 12)
    path = write_dicom(tmp_path / "a.dcm", pixels, Modality="US", SequenceOfUltrasoundRegions=Sequence(regions))
    np.testing.assert_allclose(read_image(path).geometry.spacing[:2], spacing)


@pytest.mark.parametrize(
    ("tags", "cause"),
    [
        ({"TransferSyntaxUID": "1.2.840.113619.5.2"}, "GE private"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.201"}, "HTJ2K"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.202"}, "HTJ2K"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.203"}, "HTJ2K"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.100"}, "MPEG2"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.102"}, "MPEG-4"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "Siemens mosaic"),
    ],
)
def test_dicom_refusals_name_the_cause(
    tmp_path: Path, write_dicom: WriteDicom, tags: dict[str, Any], cause: str
) -> None:
    pixels = np.arange(120, dtype=np.uint16).reshape(10, 12)
    syntax = tags.pop("TransferSyntaxUID", None)
    path = write_dicom(tmp_path / "a.dcm", pixels, **tags)
    if syntax:
        known, other = (b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2))
        content = path.read_bytes()
        at = content.index(known)
        length = len(other).to_bytes(2, "little")
        group = int.from_bytes(content[140:144], "little") + len(other) - len(known)
        content = content[: at - 2] + length + other + content[at + len(known) :]
        path.write_bytes(content[:140] + group.to_bytes(4, "little") + content[144:])
    with pytest.raises(ImageError, match=cause):
        read_image(path)


@pytest.mark.parametrize(
    ("photometric", "tags", "cause"),
    [
        ("MONOCHROME2", {"HighBit": 15}, "end at bit 15"),
        ("MONOCHROME2", {"SamplesPerPixel": 3}, "3 samples a pixel, which are not MONOCHROME2"),
        ("MONOCHROME2", {"PhotometricInterpretation": "RGB"}, "1 samples a pixel, which are not RGB"),
        ("MONOCHROME2", {"PhotometricInterpretation": ""}, "photometric interpretation is missing"),
        ("PALETTE COLOR", {}, "palette is incomplete"),
        ("PALETTE COLOR", {"first": 10}, "begins at value 10"),
    ],
)
def test_dicom_pixels_that_would_be_misread_are_refused(
    tmp_path: Path, write_dicom: WriteDicom, photometric: str, tags: dict[str, Any], cause: str
) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.arange(120, dtype=np.uint16).reshape(10, 12), photometric, BitsStored=12)
    data = pydicom.dcmread(path)
    if "first" in tags:
        for color in ("Red", "Green", "Blue"):
            setattr(data, f"{color}PaletteColorLookupTableDescriptor", [20, tags["first"], 16])
            data[f"{color}PaletteColorLookupTableDescriptor"].VR = "US"
            setattr(data, f"{color}PaletteColorLookupTableData", bytes(40))
    for name in tags.keys() - {"first"}:
        setattr(data, name, tags[name])
    data.save_as(path)
    with pytest.raises(ImageError, match=cause):
        read_image(path)


@pytest.mark.parametrize("stored", [12, 16])
@pytest.mark.parametrize("declared", ["as signed", "as stored bits", "as 16 bits"])
def test_dicom_padding_of_signed_pixels_is_background(
    tmp_path: Path, write_dicom: WriteDicom, stored: int, declared: str
) -> None:
    pixels = np.random.default_rng(1).integers(-500, 500, (10, 12)).astype(np.int16)
    value = -600
    pixels[:3] = value
    pixels[3, 0] = -700
    path = write_dicom(tmp_path / "a.dcm", pixels, BitsStored=stored)
    data = pydicom.dcmread(path)
    given = {"as signed": value, "as stored bits": value + 2**stored, "as 16 bits": value + 2**16}[declared]
    data.add_new("PixelPaddingValue", "SS" if declared == "as signed" else "US", given)
    data.save_as(path)
    array = read_image(path).array[0, ..., 0].T
    assert (array[:3] == -700).all()
    np.testing.assert_array_equal(array[3:], pixels[3:])


def test_dicom_without_pixels_and_with_float_pixels(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.arange(120, dtype=np.uint16).reshape(10, 12))
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(ImageError, match="has no pixels"):
        read_image(path)
    data.BitsAllocated = 32
    data.FloatPixelData = np.zeros((10, 12), np.float32).tobytes()
    data.save_as(path)
    with pytest.raises(ImageError, match="float pixels"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_dicom_colour_by_rle_is_exact_or_refused(tmp_path: Path, write_dicom: WriteDicom, dtype: type) -> None:
    pixels = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (10, 12, 3)).astype(dtype)
    path = write_dicom(tmp_path / "a.dcm", pixels, "RGB")
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless)
    data.save_as(path)
    if dtype is np.uint16:
        with pytest.raises(ImageError, match="colour of 16 bits, compressed by RLE"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path).array[..., 0].transpose(2, 1, 0), pixels)
