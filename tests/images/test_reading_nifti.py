"""NIfTI is read as ITK and nibabel read it, over generated headers of all fields that vary."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.reading import read_image
from support.compared_reading import VOXELS, as_itk, assert_same


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


@pytest.mark.parametrize("codes", [(0, -1), (1, -1), (-1, 1), (-1, -1)])
def test_nifti_codes_below_zero_are_unknown(tmp_path: Path, codes: tuple[int, int]) -> None:
    rows = {"srow_x": (-0.8, 0, 0, 7), "srow_y": (0, 0.9, 0, 8), "srow_z": (0, 0, 2.5, 9)}
    path = nifti(tmp_path / "a.nii", qform_code=codes[0], sform_code=codes[1], qoffset_x=1.0, **rows)
    assert_same(read_image(path), as_itk(path))


@pytest.mark.parametrize("shear", [5e-5, 2e-4, 8e-4, 0.1])
def test_nifti_sform_that_is_nearly_rectangular(tmp_path: Path, shear: float) -> None:
    rows = {"srow_x": (-0.8, 0, 0, 7), "srow_y": (0.9 * shear, 0.9, 0, 8), "srow_z": (0, 0, 2.5, 9)}
    path = nifti(tmp_path / "a.nii", qform_code=1, sform_code=1, qoffset_x=1.0, **rows)
    assert_same(read_image(path), as_itk(path))


@pytest.mark.parametrize("sizes", [(1, 2, 3), (0.8, 0.9, 3), (0.81, 0.9, 2.5), (0.8, -0.9, 2.5)])
@pytest.mark.parametrize("codes", [(0, 1), (1, 1), (1, 2)])
def test_nifti_whose_voxel_sizes_are_not_those_of_its_sform(
    tmp_path: Path, sizes: tuple[float, float, float], codes: tuple[int, int]
) -> None:
    rows = {"srow_x": (-0.8, 0, 0, 7), "srow_y": (0, 0.9, 0, 8), "srow_z": (0, 0, 2.5, 9)}
    path = nifti(tmp_path / "a.nii", qform_code=codes[0], sform_code=codes[1], pixdim=(1, *sizes), **rows)
    assert_same(read_image(path), as_itk(path))


@pytest.mark.parametrize("code", [0, 1, 255, 1536, 2048])
def test_nifti_of_a_type_that_is_not_read_names_it(tmp_path: Path, code: int) -> None:
    with pytest.raises(ImageError, match=rf"datatype {code}\b"):
        read_image(nifti(tmp_path / "a.nii", datatype=code))


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
