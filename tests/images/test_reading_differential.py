"""Every format, read as SimpleITK, nibabel, tifffile and pydicom do, over generated files of all fields that vary."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from pydicom.pixel_data_handlers.util import apply_modality_lut
from pydicom.sequence import Sequence

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.itk import from_itk
from otherwise.images.reading import read_image

WriteDicom = Callable[..., Path]
VOXELS = np.random.default_rng(0).integers(-900, 900, (7, 6, 5)).astype(np.int16)


def as_itk(path: Path) -> Image:
    return from_itk(sitk.ReadImage(str(path)))


def assert_same(ours: Image, theirs: Image) -> None:
    np.testing.assert_allclose(ours.geometry.affine, theirs.geometry.affine, atol=2e-4)
    np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-6, atol=1e-5)


# --- NIfTI -----------------------------------------------------------------------------------------------------------


def nifti(path: Path, voxels: np.ndarray = VOXELS, **fields: Any) -> Path:
    """Write NIfTI-1 whose header has exactly these fields."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header["pixdim"][:4] = 1, 0.8, 0.9, 2.5
    header["xyzt_units"] = 2
    header["vox_offset"], header["magic"] = 352, b"n+1\0"
    gap = fields.pop("gap", 4)
    for name, value in fields.items():
        if name in ("pixdim", "dim"):
            header[name][: len(value)] = value
        else:
            header[name] = value
    path.write_bytes(header.binaryblock + bytes(gap) + voxels.tobytes(order="F"))
    return path


QUATERNIONS = {
    "none": (0.0, 0.0, 0.0),
    "half turn": (0.0, 1.0, 0.0),
    "oblique": (0.1, -0.2, 0.3),
    "rounded": (0.7072, 0.7072, 0.0),
    "nearly a half turn": (0.0, 0.99999994, 1e-4),
}


@pytest.mark.parametrize("quaternion", QUATERNIONS)
@pytest.mark.parametrize("qfac", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_nifti_qform(tmp_path: Path, quaternion: str, qfac: float, units: int) -> None:
    b, c, d = QUATERNIONS[quaternion]
    fields = {"quatern_b": b, "quatern_c": c, "quatern_d": d, "qform_code": 1, "xyzt_units": units}
    size = {1: 0.001, 3: 1000.0}.get(units, 1.0)
    fields |= {"qoffset_x": 3 * size, "qoffset_y": -4 * size, "qoffset_z": 5 * size}
    path = nifti(tmp_path / "a.nii", pixdim=(qfac, 0.8 * size, 0.9 * size, 2.5 * size), **fields)
    ours, theirs = read_image(path), as_itk(path)
    np.testing.assert_array_equal(ours.array[0], VOXELS)
    np.testing.assert_allclose(ours.geometry.spacing, (0.8, 0.9, 2.5), rtol=1e-5)
    np.testing.assert_allclose(ours.geometry.spacing, theirs.geometry.spacing, rtol=1e-5)
    directions = (image.geometry.affine[:3, :3] / image.geometry.spacing for image in (ours, theirs))
    np.testing.assert_allclose(*directions, atol=1e-4)
    np.testing.assert_allclose(ours.geometry.affine[:3, 3], (3, -4, 5), rtol=1e-5)


@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("form", ["none", "qform"])
def test_nifti_negative_voxel_sizes(tmp_path: Path, signs: tuple[int, int, int], form: str) -> None:
    sizes = (1.0, 0.8 * signs[0], 0.9 * signs[1], 2.5 * signs[2])
    path = nifti(tmp_path / "a.nii", pixdim=sizes, qform_code=int(form == "qform"))
    assert_same(read_image(path), as_itk(path))


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("scale", [(0, 0), (1, 0), (2, 0), (0.5, -3)])
def test_nifti_values(tmp_path: Path, dtype: str, scale: tuple[float, float]) -> None:
    voxels = (VOXELS / 9).astype(dtype)
    path = nifti(tmp_path / "a.nii", voxels, scl_slope=scale[0], scl_inter=scale[1])
    assert_same(read_image(path), as_itk(path))
    np.testing.assert_allclose(read_image(path).array[0], nibabel.load(path).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (2, 2), (0, 4)])
def test_nifti_sform_and_qform(tmp_path: Path, codes: tuple[int, int]) -> None:
    rows = {"srow_x": (-0.8, 0, 0, 7), "srow_y": (0, 0, 2.5, 8), "srow_z": (0, 0.9, 0, 9)}
    path = nifti(tmp_path / "a.nii", qform_code=codes[0], sform_code=codes[1], qoffset_x=1.0, **rows)
    assert_same(read_image(path), as_itk(path))


@pytest.mark.parametrize("gap", [0, 4])
def test_nifti_without_the_place_of_its_voxels(tmp_path: Path, gap: int) -> None:
    path = nifti(tmp_path / "a.nii", vox_offset=0, gap=gap)
    np.testing.assert_array_equal(read_image(path).array[0], VOXELS)


@pytest.mark.parametrize(
    "dim", [(4, 7, 6, 5, 1), (4, 7, 6, 5, 0), (5, 7, 6, 5, 1, 1), (5, 7, 6, 5, 0, 0), (7, 7, 6, 5, 1, 1, 1, 1)]
)
def test_nifti_further_axes_of_one(tmp_path: Path, dim: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(read_image(nifti(tmp_path / "a.nii", dim=dim)).array[0], VOXELS)


def test_nifti_of_several_volumes_says_how_they_become_channels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a series of 5 volumes.*otherwise combine"):
        read_image(nifti(tmp_path / "a.nii", np.zeros((7, 6, 4, 5), np.int16)))


# --- NRRD and MetaImage ----------------------------------------------------------------------------------------------


def nrrd(path: Path, data: bytes | None = None, **fields: str) -> Path:
    header = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "7 6 5",
        "space directions": "(0.8,0,0) (0,0.9,0) (0,0,2.5)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(-40,50,-60)",
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    newline = fields.pop("newline", "\n")
    header.pop("newline", None)
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in header.items() if value), "", ""]
    body = VOXELS.tobytes(order="F") if data is None else data
    path.write_bytes(newline.join(lines).encode() + body)
    return path


TEXT = " ".join(str(value) for value in VOXELS.ravel(order="F")).encode()
NRRDS: dict[str, dict[str, Any]] = {
    "text": {"encoding": "ascii", "data": TEXT},
    "txt": {"encoding": "text", "data": TEXT.replace(b" ", b"\n") + b"\n"},
    "bytes to skip at the end": {"byte_skip": "-1", "data": b"junkjunk" + VOXELS.tobytes(order="F")},
    "bytes to skip": {"byte_skip": "5", "data": b"12345" + VOXELS.tobytes(order="F")},
    "big": {"endian": "big", "data": VOXELS.astype(">i2").tobytes(order="F")},
    "ras": {"space": "right-anterior-superior"},
    "las": {"space": "left-anterior-superior"},
    "scanner": {"space": "scanner-xyz"},
    "right-handed": {"space": "3D-right-handed"},
    "oblique": {"space_directions": "(0.48,0.64,0) (-0.72,0.54,0) (0,0,2.5)"},
    "no origin": {"space_origin": ""},
    "spacings": {"space": "", "space_directions": "", "space_origin": "", "spacings": "0.8 0.9 2.5"},
    "windows": {"newline": "\r\n"},
    "micrometres": {"space_units": '"um" "um" "um"'},
}


@pytest.mark.parametrize("kind", NRRDS)
def test_nrrd(tmp_path: Path, kind: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", **NRRDS[kind])
    assert_same(read_image(path), as_itk(path))
    np.testing.assert_array_equal(read_image(path).array[0], VOXELS)


@pytest.mark.parametrize("name", ["a.raw", "./a.raw"])
def test_nrrd_with_its_voxels_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes(order="F"))
    assert_same(read_image(nrrd(tmp_path / "a.nhdr", b"", data_file=name)), as_itk(tmp_path / "a.nhdr"))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"line_skip": "2"}, "skips lines"),
        ({"encoding": "hex"}, "encoding .hex. is unknown"),
        ({"encoding": "ascii", "data": TEXT[:-9]}, "values, and its header says"),
        ({"data_file": "../a.raw"}, "another folder"),
        (
            {"dimension": "2", "sizes": "7 6", "space_directions": "(1,0,0) (0,1,0)", "kinds": ""},
            "one plane in a space",
        ),
    ],
)
def test_nrrd_refusals_name_the_cause(tmp_path: Path, fields: dict[str, Any], cause: str) -> None:
    with pytest.raises(ImageError, match=cause):
        read_image(nrrd(tmp_path / "a.nrrd", **fields))


def metaimage(path: Path, data: bytes, *lines: str) -> Path:
    given = dict(line.split(" = ") for line in lines)
    fields = {"ObjectType": "Image", "NDims": "3", "DimSize": "7 6 5", "ElementType": "MET_SHORT", **given}
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")
    path.write_bytes("".join(f"{key} = {value}\n" for key, value in fields.items()).encode() + data)
    return path


@pytest.mark.parametrize(
    "lines",
    [
        ("BinaryData = True", "ElementSpacing = 0.8 0.9 2.5"),
        ("BinaryData = True", "Offset = 1 2 3", "TransformMatrix = 0 1 0 1 0 0 0 0 -1"),
        ("BinaryData = True", "Position = 1 2 3", "Orientation = 0 1 0 1 0 0 0 0 -1"),
        ("BinaryData = True", "BinaryDataByteOrderMSB = True"),
        ("BinaryData = False",),
        ("BinaryData = False", "ElementSpacing = 0.8 0.9 2.5"),
    ],
)
def test_metaimage(tmp_path: Path, lines: tuple[str, ...]) -> None:
    big = any("MSB = True" in line for line in lines)
    data = TEXT + b"\n" if "BinaryData = False" in lines else VOXELS.astype(">i2" if big else "<i2").tobytes(order="F")
    path = metaimage(tmp_path / "a.mha", data, *lines)
    np.testing.assert_array_equal(read_image(path).array[0], VOXELS)
    assert_same(read_image(path), as_itk(path))


def test_metaimage_with_its_voxels_in_this_folder(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes(order="F"))
    path = metaimage(tmp_path / "a.mhd", b"", "BinaryData = True", "ElementDataFile = ./a.raw")
    assert_same(read_image(path), as_itk(path))


# --- Pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff(tmp_path: Path, dtype: str, tile: tuple[int, int] | None, colours: int, compression: str | None) -> None:
    pixels = np.random.default_rng(1).integers(0, 60000, (33, 40, colours)).astype("u2").astype(dtype)
    pixels = pixels if colours == 3 else pixels[..., 0]
    options: dict[str, Any] = {"photometric": "rgb" if colours == 3 else "minisblack", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=tile, **options, resolution=(50, 25), resolutionunit="CENTIMETER")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array[..., 0], np.moveaxis(np.atleast_3d(pixels), -1, 0).transpose(0, 2, 1))
    np.testing.assert_allclose(image.geometry.spacing, (0.2, 0.4, 1.0))
    assert image.array.dtype.kind == pixels.dtype.kind


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiff_with_each_colour_in_a_plane_of_its_own(
    tmp_path: Path, dtype: str, compression: str | None, bigtiff: bool
) -> None:
    planes = np.random.default_rng(1).integers(0, 250, (3, 20, 30)).astype(dtype)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", planes, bigtiff=bigtiff, rowsperstrip=7, **options)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array[..., 0], planes.transpose(0, 2, 1))
    assert image.array.dtype == planes.dtype


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_tiff_that_is_stored_turned_or_mirrored_is_upright_in_all_its_bits(
    tmp_path: Path, orientation: int, dtype: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 250, (20, 30)).astype(dtype) * (np.dtype(dtype).itemsize * 100 - 99)
    pixels = pixels.astype(dtype)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo={274: orientation}, dpi=(100, 50))
    # TIFF 6.0, Orientation: where the stored picture's first row and first column belong.
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: np.rot90(pixels, 2),
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).T,
        8: np.rot90(pixels),
    }
    expected = upright[orientation]
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array[0, ..., 0].T, expected)
    assert image.array.dtype == pixels.dtype
    across, down = (0.254, 0.508) if orientation < 5 else (0.508, 0.254)
    np.testing.assert_allclose(image.geometry.spacing[:2], (across, down), rtol=1e-4)


def test_tiff_of_grey_with_transparency(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (20, 30, 2)).astype(np.uint8)
    PIL.Image.fromarray(grey, "LA").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[0, ..., 0].T, grey[..., 0])


@pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("u2", 65535)])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_whose_lowest_value_is_white_is_inverted(
    tmp_path: Path, dtype: str, top: int, tile: tuple[int, int] | None
) -> None:
    pixels = np.random.default_rng(1).integers(0, top, (33, 40)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", tile=tile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[0, ..., 0].T, top - pixels.astype(int))
    if dtype == "u1":
        with PIL.Image.open(tmp_path / "a.tif") as shown:
            np.testing.assert_array_equal(
                read_image(tmp_path / "a.tif").array[0, ..., 0].T, np.asarray(shown.convert("L"))
            )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png(tmp_path: Path, mode: str) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (20, 30)).astype(np.uint8)
    picture = PIL.Image.fromarray(grey.astype(np.uint16) * 100) if mode == "I;16" else PIL.Image.fromarray(grey)
    picture = picture if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "a.png")
    array = read_image(tmp_path / "a.png").array
    shown = np.asarray(picture.convert("RGB") if mode == "P" else picture.convert("L") if mode == "1" else picture)
    shown = np.atleast_3d(shown)[..., : array.shape[0]]
    np.testing.assert_array_equal(array[..., 0].transpose(2, 1, 0), shown)
    assert array.shape[0] == (1 if mode in ("1", "L", "LA", "I;16") else 3)


def test_png_of_grey_with_one_value_transparent(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (20, 30)).astype(np.uint8)
    PIL.Image.fromarray(grey).save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array[0, ..., 0].T, grey)


# --- DICOM -----------------------------------------------------------------------------------------------------------


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
