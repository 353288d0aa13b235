"""Files written by other people's software come back with their voxels where they belong."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk  # noqa: N813

from otherwise.images.itk import from_itk
from otherwise.images.reading import image_name, read_image
from support.itk_images import to_itk

OBLIQUE = sitk.VersorTransform((1.0, 0.4, -0.7), 0.9).GetMatrix()


def itk_image(array: np.ndarray, vector: bool = False) -> sitk.Image:
    """An oblique image; ``array`` is ``(k, j, i[, channels])``."""
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-11.0, 7.25, 130.5))
    image.SetDirection(OBLIQUE)
    return image


def ras_of_voxel(image: sitk.Image, index: tuple[int, int, int]) -> np.ndarray:
    x, y, z = image.TransformIndexToPhysicalPoint(index)
    return np.array([-x, -y, z])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int32])
@pytest.mark.parametrize("compress", [False, True])
def test_volume_written_by_itk_keeps_voxels_and_places(tmp_path: Path, name: str, dtype: type, compress: bool) -> None:
    source = itk_image(np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype))
    sitk.WriteImage(source, str(tmp_path / name), useCompression=compress)

    image = read_image(tmp_path / name)

    assert image.array.shape == (1, 6, 5, 4)
    assert image.array.dtype == dtype
    assert image.dimension == 3
    assert image.array[0, 3, 1, 2] == source[3, 1, 2]
    for index in [(0, 0, 0), (5, 4, 3), (2, 3, 1)]:
        np.testing.assert_allclose(image.geometry.to_ras(np.array(index)), ras_of_voxel(source, index), atol=2e-5)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_vector_components_become_channels(tmp_path: Path, name: str) -> None:
    source = itk_image(np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5), vector=True)
    sitk.WriteImage(source, str(tmp_path / name))

    image = read_image(tmp_path / name)

    assert image.array.shape == (5, 4, 3, 2)
    assert tuple(image.array[:, 3, 1, 0]) == source[3, 1, 0]


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_one_plane_is_two_dimensional(tmp_path: Path, name: str) -> None:
    source = sitk.GetImageFromArray(np.arange(20, dtype=np.int16).reshape(4, 5))
    source.SetSpacing((0.5, 0.25))
    sitk.WriteImage(source, str(tmp_path / name))

    image = read_image(tmp_path / name)

    assert image.dimension == 2
    assert image.array.shape == (1, 5, 4, 1)
    assert image.geometry.spacing[:2] == pytest.approx((0.5, 0.25))
    assert image.array[0, 3, 2, 0] == 13


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1)])
def test_nifti_of_one_slice_is_two_dimensional(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.int16), np.diag([2, 3, 4, 1.0])), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert (image.dimension, image.array.shape) == (2, (1, 9, 7, 1))


TILTED = np.array([[0, -0.5, 0, 10], [0.6, 0, 0, 20], [0, 0, 0.7, 30], [0, 0, 0, 1.0]])
STRAIGHT = np.array([[0.6, 0, 0, -1], [0, 0.5, 0, -2], [0, 0, 0.7, -3], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("qform_code", [0, 1, 2])
@pytest.mark.parametrize("sform_code", [0, 1, 2, 4])
def test_nifti_is_placed_where_itk_places_it(tmp_path: Path, sform_code: int, qform_code: int) -> None:
    """Also where sform and qform disagree, since 3D Slicer shows the image by ITK."""
    file = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    file.set_qform(STRAIGHT, qform_code)
    file.set_sform(TILTED, sform_code)
    nibabel.save(file, tmp_path / "a.nii")

    image = read_image(tmp_path / "a.nii")

    itk = sitk.ReadImage(str(tmp_path / "a.nii"))
    for index in [(0, 0, 0), (2, 3, 4)]:
        np.testing.assert_allclose(image.geometry.to_ras(np.array(index)), ras_of_voxel(itk, index), atol=1e-5)


def test_nifti_values_are_scaled_and_double_becomes_float(tmp_path: Path) -> None:
    file = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    file.header.set_slope_inter(0.5, -3.0)
    nibabel.save(file, tmp_path / "scaled.nii.gz")
    raw = bytearray(gzip.decompress((tmp_path / "scaled.nii.gz").read_bytes()))
    raw[112:120] = np.array([0.5, -3.0], "<f4").tobytes()  # nibabel chose slope 1 for these integers
    (tmp_path / "scaled.nii").write_bytes(raw)

    image = read_image(tmp_path / "scaled.nii")

    assert image.array.dtype == np.float32
    assert image.array[0, 1, 1, 1] == 0.5 * 7 - 3


def test_nifti_of_colours(tmp_path: Path) -> None:
    colors = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colors["G"][2, 1, 0] = 9
    nibabel.save(nibabel.Nifti1Image(colors, np.eye(4)), tmp_path / "rgb.nii")
    image = read_image(tmp_path / "rgb.nii")
    assert image.array.shape == (3, 3, 4, 5)
    assert image.array[:, 2, 1, 0].tolist() == [0, 9, 0]


def test_nrrd_geometry_is_read_to_the_last_bit(tmp_path: Path) -> None:
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: right-anterior-superior\nsizes: 1 1 1\n"
        "space directions: (0,0.1,0) (0.2,0,0) (0,0,0.30000000000000004)\n"
        "kinds: domain domain domain\nencoding: raw\nspace origin: (0.1,1e-17,-2)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + b"\7")
    affine = read_image(tmp_path / "a.nrrd").geometry.affine
    assert affine.tolist() == [[0, 0.2, 0, 0.1], [0.1, 0, 0, 1e-17], [0, 0, 0.30000000000000004, -2], [0, 0, 0, 1]]


@pytest.mark.parametrize("name", ["p.png", "p.tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("color", [False, True])
def test_pictures(tmp_path: Path, name: str, dtype: type, color: bool) -> None:
    rows, columns = 6, 9
    pixels = (np.arange(rows * columns * 3) * 11).reshape(rows, columns, 3).astype(dtype)
    pixels = pixels if color else pixels[..., 0]
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=color), str(tmp_path / name))

    image = read_image(tmp_path / name)

    assert image.array.dtype == dtype
    assert image.array.shape == (3 if color else 1, columns, rows, 1)
    assert image.dimension == 2
    assert image.geometry.spacing == pytest.approx((1, 1, 1))
    assert np.array_equal(image.array[:, 7, 2, 0], np.atleast_1d(pixels[2, 7]))
    # Rows run towards the patient's feet and columns towards the left, as the picture is looked at.
    np.testing.assert_allclose(image.geometry.affine[:2, :2], [[-1, 0], [0, -1]], atol=1e-7)


def test_picture_with_resolution_transparency_and_wrong_extension(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 4), 128, np.uint8)
    pixels[2, 3, :3] = (1, 2, 3)
    PIL.Image.fromarray(pixels, "RGBA").save(tmp_path / "p.png")
    (tmp_path / "p.dat").write_bytes((tmp_path / "p.png").read_bytes())
    assert read_image(tmp_path / "p.dat").array[:, 3, 2, 0].tolist() == [1, 2, 3]

    PIL.Image.fromarray(pixels[..., 0]).save(tmp_path / "p.jpg", dpi=(254, 254))
    assert read_image(tmp_path / "p.jpg").geometry.spacing == pytest.approx((0.1, 0.1, 1))


def test_names() -> None:
    names = {"a.nii.gz": "a", "b.c.nrrd": "b.c", "1.2.840.3": "1.2.840.3", "x.DCM": "x", "f": "f", "y.jpeg": "y"}
    assert {name: image_name(Path("somewhere") / name) for name in names} == names


def test_id_can_be_given(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").id == "a"
    assert read_image(tmp_path / "a.nii", id="case 7").id == "case 7"


@pytest.mark.parametrize("channels", [1, 3])
def test_to_itk_and_back(channels: int) -> None:
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6, channels)).astype(np.float32)
    source = itk_image(voxels if channels > 1 else voxels[..., 0], vector=channels > 1)
    image = from_itk(source)
    assert image.array.shape == (channels, 6, 5, 4)
    again = to_itk(image)
    np.testing.assert_allclose(again.GetSpacing(), source.GetSpacing(), rtol=1e-14)
    np.testing.assert_allclose(again.GetDirection(), source.GetDirection(), atol=1e-14)
    assert again.GetOrigin() == source.GetOrigin()
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(source))
