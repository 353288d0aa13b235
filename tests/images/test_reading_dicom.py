"""DICOM as the standard means it, on files made for the purpose."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.reading import read_image

WriteDicom = Callable[..., Path]
RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 4096, (60, 50)).astype(np.uint16)


def rows_and_columns(image: Image, slice_index: int = 0) -> np.ndarray:
    """The first channel as DICOM stores it."""
    return image.array[0, :, :, slice_index].T


def test_rescaled_values(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "a", PIXELS, BitsStored=12, RescaleSlope="2", RescaleIntercept="-1000")
    image = read_image(path)
    assert image.array.dtype == np.int16
    assert np.array_equal(rows_and_columns(image), PIXELS.astype(int) * 2 - 1000)
    path = write_dicom(tmp_path / "b", PIXELS, BitsStored=12, RescaleSlope="0.5", RescaleIntercept="-0.25")
    assert np.array_equal(rows_and_columns(read_image(path)), PIXELS * np.float32(0.5) - np.float32(0.25))
    assert read_image(path).array.dtype == np.float32


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_inverted_within_the_stored_range(
    tmp_path: Path, write_dicom: WriteDicom, bits: int, signed: bool
) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = RNG.integers(low, high + 1, (7, 5)).astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    tags = {"BitsStored": bits, "RescaleSlope": "3", "RescaleIntercept": "7"}
    image = read_image(write_dicom(tmp_path / "a.dcm", stored, "MONOCHROME1", **tags))
    assert np.array_equal(rows_and_columns(image), (low + high - stored.astype(int)) * 3 + 7)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_modality_look_up_table(tmp_path: Path, write_dicom: WriteDicom, photometric: str) -> None:
    table = (np.arange(4096) ** 2 // 256).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4096, 0, 16], "OD"
    item.LUTData = table.tobytes()
    item["LUTData"].VR = "OW"
    path = write_dicom(tmp_path / "a", PIXELS, photometric, BitsStored=12, ModalityLUTSequence=[item])
    expected = table[PIXELS].astype(int)
    if photometric == "MONOCHROME1":
        expected = 65535 - expected
    assert np.array_equal(rows_and_columns(read_image(path)), expected)


def test_bits_above_those_stored_are_no_part_of_a_pixel(tmp_path: Path, write_dicom: WriteDicom) -> None:
    overlay = PIXELS | RNG.integers(0, 16, PIXELS.shape).astype(np.uint16) << 12
    image = read_image(write_dicom(tmp_path / "a", overlay, BitsStored=12))
    assert np.array_equal(rows_and_columns(image), PIXELS)


def test_other_transfer_syntaxes(tmp_path: Path, write_dicom: WriteDicom) -> None:
    data = pydicom.dcmread(write_dicom(tmp_path / "plain.dcm", PIXELS, BitsStored=12))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "deflated.dcm")
    assert np.array_equal(rows_and_columns(read_image(tmp_path / "deflated.dcm")), PIXELS)
    data.compress(RLELossless)
    data.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(rows_and_columns(read_image(tmp_path / "rle.dcm")), PIXELS)


def test_colours(tmp_path: Path, write_dicom: WriteDicom) -> None:
    rgb = np.zeros((32, 24, 3), np.uint8)
    rgb[:16, :, 0], rgb[16:, :, 2] = 255, 200
    plain = read_image(write_dicom(tmp_path / "rgb", rgb, "RGB"))
    assert np.array_equal(plain.array[..., 0].T, rgb)

    jpeg = io.BytesIO()
    PIL.Image.fromarray(rgb).save(jpeg, "JPEG", quality=95)
    pixel_data = {"PixelData": encapsulate([jpeg.getvalue()]), "TransferSyntaxUID": JPEGBaseline8Bit}
    compressed = read_image(write_dicom(tmp_path / "jpeg", rgb, "YBR_FULL_422", **pixel_data))
    assert np.abs(compressed.array[:, 3, [3, 28], 0].T.astype(int) - rgb[[3, 28], 3]).max() < 4


def test_palette(tmp_path: Path, write_dicom: WriteDicom) -> None:
    ramp = np.arange(256, dtype=np.uint16) * 257
    tables = {"Red": ramp, "Green": ramp[::-1].copy(), "Blue": np.zeros_like(ramp)}
    tags: dict[str, object] = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in tables}
    tags |= {f"{name}PaletteColorLookupTableData": table.tobytes() for name, table in tables.items()}
    stored = RNG.integers(0, 256, (6, 5)).astype(np.uint8)
    image = read_image(write_dicom(tmp_path / "a", stored, "PALETTE COLOR", **tags))
    assert np.array_equal(image.array[..., 0].T, np.stack([stored, 255 - stored, 0 * stored], axis=-1))


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({}, (1, 1, 1)),
        ({"PixelSpacing": [0.1, 0.2]}, (0.2, 0.1, 1)),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.4, 0.3, 1)),
        ({"PixelSpacing": [0.1, 0.2], "ImagerPixelSpacing": [0.3, 0.4]}, (0.2, 0.1, 1)),
        ({"NominalScannedPixelSpacing": [0.5, 0.6]}, (0.6, 0.5, 1)),
        ({"PixelSpacing": [0, 0]}, (1, 1, 1)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.3, 0.4]}, (0.4, 0.3, 1)),
    ],
)
def test_spacing_of_radiographs(
    tmp_path: Path, write_dicom: WriteDicom, tags: dict[str, list[float]], spacing: tuple[float, ...]
) -> None:
    image = read_image(write_dicom(tmp_path / "a", PIXELS, **tags))
    assert image.geometry.spacing == pytest.approx(spacing)
    assert image.dimension == 2


def test_nothing_of_the_patient_gets_into_the_name(tmp_path: Path, write_dicom: WriteDicom) -> None:
    image = read_image(write_dicom(tmp_path / "IM000001", PIXELS))
    assert image.id == "IM000001"
    assert "Doe" not in repr(image) + image.id


# --- series -----------------------------------------------------------------------------------------------------------

RIGHT = np.array([0.8, 0.6, 0.0])
DOWN = np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(RIGHT, DOWN)


def write_series(
    folder: Path, write_dicom: WriteDicom, heights: Sequence[float], shift: np.ndarray | None = None, **tags: object
) -> np.ndarray:
    """Slices at the given heights along the normal, in a shuffled order of names; the pixels, by height."""
    folder.mkdir(exist_ok=True)
    pixels = RNG.integers(0, 1000, (len(heights), 6, 5)).astype(np.uint16)
    series = {"SeriesInstanceUID": generate_uid(), "Modality": "CT", "PixelSpacing": [0.5, 0.7], "SliceThickness": 9}
    for name, at in enumerate(RNG.permutation(len(heights))):
        position = np.array([10.0, 20.0, 30.0]) + NORMAL * heights[at] + (0 if shift is None else shift * heights[at])
        place = {"ImagePositionPatient": position.tolist(), "ImageOrientationPatient": [*RIGHT, *DOWN]}
        write_dicom(folder / f"{name:03d}", pixels[at], **(series | place | tags))
    return pixels


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.hint
    return str(caught.value)


def test_series_is_sorted_by_position_and_placed(tmp_path: Path, write_dicom: WriteDicom) -> None:
    pixels = write_series(
        tmp_path / "series", write_dicom, [0, 1.5, 3, 4.5, 6], RescaleSlope="1", RescaleIntercept="-9"
    )
    (tmp_path / "series" / "README.txt").write_text("passed over")

    image = read_image(tmp_path / "series")

    assert (image.id, image.dimension, image.array.shape) == ("series", 3, (1, 5, 6, 5))
    for k in range(5):
        assert np.array_equal(rows_and_columns(image, k), pixels[k].astype(int) - 9)
    lps = np.array([10, 20, 30]) + RIGHT * 0.7 * 4 + DOWN * 0.5 * 2 + NORMAL * 1.5 * 3
    np.testing.assert_allclose(image.geometry.to_ras(np.array([4, 2, 3])), lps * [-1, -1, 1], atol=1e-9)


def test_slices_rescaled_each_by_its_own_slope(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for k, slope in enumerate(["1", "0.25"]):
        place = {
            "ImagePositionPatient": [0, 0, k],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [1, 1],
        }
        write_dicom(tmp_path / str(k), PIXELS, SeriesInstanceUID="1.2.3", RescaleSlope=slope, **place)
    image = read_image(tmp_path)
    for k, factor in enumerate([1, 0.25]):
        assert np.array_equal(rows_and_columns(image, k), PIXELS * np.float32(factor))


def test_rounded_positions_are_one_volume(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_series(tmp_path / "a", write_dicom, [round(1.25 * k, 1) for k in range(9)])
    assert read_image(tmp_path / "a").geometry.spacing[2] == pytest.approx(1.25, abs=0.01)


def test_series_that_are_no_volume(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_series(tmp_path / "gap", write_dicom, [0, 1, 2, 4, 5])
    assert "missing" in refusal(tmp_path / "gap")
    write_series(tmp_path / "two", write_dicom, [0, 1, 2, 1])
    assert "where another one lies" in refusal(tmp_path / "two")
    write_series(tmp_path / "uneven", write_dicom, [0, 1, 2, 3.3, 4.3, 5.5])
    assert "unevenly" in refusal(tmp_path / "uneven")
    write_series(tmp_path / "tilt", write_dicom, [0, 1, 2, 3], shift=RIGHT * 0.3)
    assert "tilted gantry" in refusal(tmp_path / "tilt")
    write_series(tmp_path / "mixed", write_dicom, [0, 1, 2])
    data = pydicom.dcmread(tmp_path / "mixed" / "001")
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.save_as(tmp_path / "mixed" / "001")
    assert "orientations" in refusal(tmp_path / "mixed")
    data.Rows, data.Columns = 5, 6
    data.save_as(tmp_path / "mixed" / "001")
    assert "differ in size" in refusal(tmp_path / "mixed")


def test_folder_of_several_series(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for name in range(3):
        write_dicom(tmp_path / str(name), PIXELS)
    assert "holds 3 series (of 1, 1, 1 files)" in refusal(tmp_path)


def test_folder_of_radiographs_in_one_series(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for name in range(2):
        write_dicom(tmp_path / str(name), PIXELS, SeriesInstanceUID="1.2.3")
    assert "without positions" in refusal(tmp_path)


def test_folder_of_one_file_is_that_file(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "a.dcm", PIXELS)
    assert np.array_equal(rows_and_columns(read_image(tmp_path)), PIXELS)


# --- frames -----------------------------------------------------------------------------------------------------------


def write_enhanced(
    path: Path, write_dicom: WriteDicom, order: Sequence[int], slopes: Sequence[float] = ()
) -> np.ndarray:
    """An enhanced CT whose frames lie 2 mm apart, in the given order; with a slope for each, or one of 2 for all."""
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.6], 9
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    if not slopes:
        shared.PixelValueTransformationSequence = [transformation(2)]
    frames = []
    for at, height in enumerate(order):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [1, 2, 10 + 2 * height]
        frame.PlanePositionSequence = [position]
        if slopes:
            frame.PixelValueTransformationSequence = [transformation(slopes[at])]
        frames.append(frame)
    pixels = RNG.integers(0, 1000, (len(order), 6, 5)).astype(np.uint16)
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    write_dicom(path, pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", Modality="CT", **groups)
    return pixels


def transformation(slope: float) -> Dataset:
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, -1000, "HU"
    return item


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_frames_are_sorted_by_position(tmp_path: Path, write_dicom: WriteDicom, order: list[int]) -> None:
    pixels = write_enhanced(tmp_path / "a", write_dicom, order)
    image = read_image(tmp_path / "a")
    assert image.dimension == 3
    assert image.geometry.spacing == pytest.approx((0.6, 0.5, 2))
    assert image.geometry.affine[:3, 3].tolist() == [-1, -2, 10]
    for frame, height in enumerate(order):
        assert np.array_equal(rows_and_columns(image, height), pixels[frame].astype(int) * 2 - 1000)


def test_enhanced_image_of_one_frame_is_a_plane_in_its_place(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_enhanced(tmp_path / "a", write_dicom, [7])
    image = read_image(tmp_path / "a")
    assert image.dimension == 2
    assert image.geometry.spacing == pytest.approx((0.6, 0.5, 9))
    assert image.geometry.affine[:3, 3].tolist() == [-1, -2, 24]


def test_frames_rescaled_each_by_its_own_slope(tmp_path: Path, write_dicom: WriteDicom) -> None:
    pixels = write_enhanced(tmp_path / "a", write_dicom, [0, 1, 2], slopes=[1, 2, 0.5])
    image = read_image(tmp_path / "a")
    for k, slope in enumerate([1, 2, 0.5]):
        assert np.array_equal(rows_and_columns(image, k), pixels[k] * np.float32(slope) - 1000)


def test_film_and_other_objects_are_no_images(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "film", RNG.integers(0, 9, (4, 6, 5)).astype(np.uint8))
    assert "4 frames without positions" in refusal(tmp_path / "film")
    write_dicom(tmp_path / "seg", PIXELS, Modality="SEG")
    assert "kind SEG" in refusal(tmp_path / "seg")
    write_dicom(tmp_path / "odd", PIXELS, "ARGB")
    assert "ARGB" in refusal(tmp_path / "odd")


# --- broken -----------------------------------------------------------------------------------------------------------


def test_broken_headers(tmp_path: Path, write_dicom: WriteDicom) -> None:
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    write_dicom(tmp_path / "zero", PIXELS, PixelSpacing=[0, 0], **place)
    assert "spacing is missing or zero" in refusal(tmp_path / "zero")
    write_dicom(tmp_path / "skew", PIXELS, PixelSpacing=[1, 1], **(place | {"ImageOrientationPatient": [1] * 6}))
    assert "right angles" in refusal(tmp_path / "skew")
    write_dicom(tmp_path / "few", PIXELS, PixelSpacing=[1, 1], **(place | {"ImagePositionPatient": [1, 2]}))
    assert "ImagePositionPatient is not 3 numbers" in refusal(tmp_path / "few")
    write_dicom(tmp_path / "slope", PIXELS, RescaleSlope="0", RescaleIntercept="1")
    assert "slope" in refusal(tmp_path / "slope")
    write_dicom(tmp_path / "large", PIXELS, Rows=60000, Columns=60000)
    assert "60000 x 60000" in refusal(tmp_path / "large")
    data = pydicom.dcmread(write_dicom(tmp_path / "none", PIXELS))
    del data.PixelData
    data.save_as(tmp_path / "none")
    assert "has no pixels" in refusal(tmp_path / "none")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_truncated(tmp_path: Path, write_dicom: WriteDicom, capfd: pytest.CaptureFixture[str], share: float) -> None:
    whole = write_dicom(tmp_path / "a.dcm", PIXELS).read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: int(len(whole) * share)])
    assert "last pixel" in refusal(tmp_path / "a.dcm")
    assert "".join(capfd.readouterr()) == ""
