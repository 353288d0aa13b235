"""What we write, others read: ITK, nibabel, pynrrd, and 3D Slicer by the fields that its readers look for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from otherwise.errors import ImageError
from otherwise.images.atomic import WriteError, atomic_folder, atomic_path
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import SegmentInfo, write_image, write_label_map, write_sequence

RNG = np.random.default_rng(5)
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
AFFINE = np.eye(4)
AFFINE[:3, :3] = ROTATION * [0.7, 1.1, 2.3]
AFFINE[:3, 3] = [1 / 3, -1e-7, 1234.5678901234567]
SHAPE = (6, 5, 4)


def make(dtype: type = np.float32, channels: int = 1) -> Image:
    return Image((RNG.random((channels, *SHAPE)) * 200).astype(dtype), Geometry(SHAPE, AFFINE), "x")


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("compress", [True, False])
def test_nrrd_brings_everything_back_to_the_last_bit(
    tmp_path: Path, dtype: type, channels: int, compress: bool
) -> None:
    image = make(dtype, channels)
    path = write_image(image, tmp_path / "x.nrrd", compress=compress)
    again = read_image(path)
    assert again.geometry.same_as(image.geometry)
    assert again.array.dtype == dtype
    assert np.array_equal(again.array, image.array)
    assert again.sha256 == image.sha256


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["x.nrrd", "x.nii", "x.nii.gz"])
def test_itk_and_so_slicer_sees_the_same_voxel_at_the_same_place(tmp_path: Path, name: str, channels: int) -> None:
    image = make(np.int16, channels)
    itk = sitk.ReadImage(str(write_image(image, tmp_path / name)))
    assert itk.GetSize() == SHAPE
    assert itk.GetNumberOfComponentsPerPixel() == channels
    for index in [(0, 0, 0), (5, 4, 3), (2, 0, 1)]:
        x, y, z = itk.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(image.geometry.to_ras(np.array(index)), (-x, -y, z), rtol=1e-6, atol=1e-4)
        assert np.array_equal(np.atleast_1d(itk[index]), image.array[(slice(None), *index)])


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_nifti_keeps_geometry_to_float(tmp_path: Path, name: str) -> None:
    image = make(np.int16)
    path = write_image(image, tmp_path / name)
    np.testing.assert_allclose(read_image(path).geometry.affine, AFFINE, rtol=1e-6, atol=1e-6)
    header = nibabel.load(path).header
    assert int(header["qform_code"]) == int(header["sform_code"]) == 1
    np.testing.assert_allclose(header.get_qform(), AFFINE, rtol=1e-5, atol=1e-4)


def test_types_that_formats_lack(tmp_path: Path) -> None:
    flags = Image(RNG.random((1, *SHAPE)) > 0.5, Geometry(SHAPE, AFFINE))
    assert read_image(write_image(flags, tmp_path / "a.nrrd")).array.dtype == np.uint8
    assert read_image(write_image(make(np.float16), tmp_path / "b.nii.gz")).array.dtype == np.float32
    assert read_image(write_image(make(np.int64), tmp_path / "c.nii.gz")).array.dtype == np.int32
    large = make(np.int64).with_array(np.full((1, *SHAPE), 2**40))
    with pytest.raises(ImageError, match="too large for NIfTI"):
        write_image(large, tmp_path / "d.nii.gz")
    assert np.array_equal(read_image(write_image(large, tmp_path / "d.nrrd")).array, large.array)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"x\.jpg"):
        write_image(make(), tmp_path / "x.jpg")
    sheared = AFFINE.copy()
    sheared[:3, 0] += 0.3 * sheared[:3, 1]
    with pytest.raises(ImageError, match="right angles"):
        write_image(Image(np.zeros((1, *SHAPE), np.uint8), Geometry(SHAPE, sheared)), tmp_path / "x.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_negative_zero_is_the_same_place() -> None:
    voxels = np.zeros((1, 1, 1, 1), np.uint8)
    plus, minus = np.eye(4), np.eye(4)
    minus[0, 3] = -0.0
    assert Image(voxels, Geometry((1, 1, 1), plus)).sha256 == Image(voxels, Geometry((1, 1, 1), minus)).sha256


def test_equal_images_give_equal_files(tmp_path: Path) -> None:
    image = make()
    for name in ("a.nrrd", "b.nrrd"):
        write_image(image, tmp_path / name)
    assert (tmp_path / "a.nrrd").read_bytes() == (tmp_path / "b.nrrd").read_bytes()


# --- label maps -------------------------------------------------------------------------------------------------------

LABELS = Image(RNG.integers(0, 3, (1, *SHAPE)), Geometry(SHAPE, AFFINE), "labels")
SEGMENTS = [SegmentInfo(2, "Läsion\nmargin", (1.0, 0.5, 0.0)), SegmentInfo(1, "mass", (0.1, 0.2, 0.3))]


def test_label_map_has_the_fields_of_slicers_segmentation(tmp_path: Path) -> None:
    path = write_label_map(LABELS, tmp_path / "regions.seg.nrrd", SEGMENTS)

    voxels, header = nrrd.read(str(path))
    assert voxels.dtype == np.uint8
    assert np.array_equal(voxels, LABELS.array[0])
    assert header["space"] == "left-posterior-superior"
    assert header["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert header["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    first = {key.removeprefix("Segment0_"): value for key, value in header.items() if key.startswith("Segment0_")}
    assert first["ID"] == "Segment_2"
    assert first["Color"] == "1 0.5 0"
    assert (first["LabelValue"], first["Layer"]) == ("2", "0")
    assert first["Extent"] == header["Segment1_Extent"] == "0 5 0 4 0 3"
    assert "Segment0_Name:=Läsion margin\n" in path.read_bytes().split(b"\n\n")[0].decode()
    assert header["Segment1_Name"] == "mass"
    assert "Segment2_ID" not in header
    assert np.array_equal(read_image(path).array, LABELS.array)


def test_label_map_with_many_labels(tmp_path: Path) -> None:
    labels = Image(np.arange(300).reshape(1, 300, 1, 1), Geometry((300, 1, 1), np.eye(4)))
    segments = [SegmentInfo(label, str(label), (0, 0, 0)) for label in range(1, 300)]
    assert nrrd.read(str(write_label_map(labels, tmp_path / "a.seg.nrrd", segments)))[0].dtype == np.uint16


def test_label_maps_that_make_no_sense(tmp_path: Path) -> None:
    target = tmp_path / "a.seg.nrrd"
    with pytest.raises(ImageError, match=r"\[2\]"):
        write_label_map(LABELS, target, SEGMENTS[1:])
    with pytest.raises(ImageError, match="share one value"):
        write_label_map(LABELS, target, [*SEGMENTS, SEGMENTS[0]])
    with pytest.raises(ImageError, match="no label map"):
        write_label_map(make(np.float32), target, SEGMENTS)
    with pytest.raises(ImageError, match=r"\.seg\.nrrd"):
        write_label_map(LABELS, tmp_path / "a.nrrd", SEGMENTS)
    with pytest.raises(ImageError, match="impossible"):
        SegmentInfo(0, "background", (0, 0, 0))
    assert list(tmp_path.iterdir()) == []


# --- sequences --------------------------------------------------------------------------------------------------------


def test_sequence_has_the_fields_of_slicers_volume_sequence(tmp_path: Path) -> None:
    images = [make() for _ in range(3)]
    path = write_sequence(images, [0, 0.5, 1.25], tmp_path / "path.seq.nrrd", "strength", "a")

    voxels, header = nrrd.read(str(path))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert np.isnan(header["space directions"][0]).all()
    assert np.array_equal(voxels, np.concatenate([image.array for image in images]))
    assert header["axis 0 index type"] == "numeric"
    assert header["axis 0 index values"] == "0 0.5 1.25"
    assert header["labels"][0] == "strength"
    assert header["units"][0] == "a"
    itk = sitk.ReadImage(str(path))
    assert itk.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_allclose(itk.GetSpacing(), images[0].geometry.spacing, rtol=1e-12)
    with pytest.raises(ImageError, match="list of volumes"):
        read_image(path)


def test_sequence_of_colours(tmp_path: Path) -> None:
    images = [make(np.uint8, 3) for _ in range(2)]
    voxels, header = nrrd.read(str(write_sequence(images, [0, 1], tmp_path / "a.seq.nrrd")))
    assert header["kinds"] == ["RGB-color", "domain", "domain", "domain", "list"]
    assert header["axis 3 index values"] == "0 1"
    assert np.array_equal(voxels[..., 1], images[1].array)


def test_sequences_that_make_no_sense(tmp_path: Path) -> None:
    target = tmp_path / "a.seq.nrrd"
    with pytest.raises(ImageError, match="2 images cannot stand at the 1 places"):
        write_sequence([make(), make()], [0], target)
    with pytest.raises(ImageError, match="ascending"):
        write_sequence([make(), make()], [1, 1], target)
    with pytest.raises(ImageError, match="another grid or type"):
        write_sequence([make(), make(np.int16)], [0, 1], target)
    with pytest.raises(ImageError, match="0 images"):
        write_sequence([], [], target)


# --- all or nothing ---------------------------------------------------------------------------------------------------


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a few bytes, as on a full disk; nor may pytest's own log, so it must be short."""
    resource = pytest.importorskip("resource", reason="needs the file size limit of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["x.nrrd", "x.nii", "x.nii.gz"])
def test_full_disk_leaves_nothing_half_and_the_old_file_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"the old one")
    image = make()
    with full_disk(), pytest.raises(WriteError, match=f"{name} cannot be written") as caught:
        write_image(image, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.status == 507
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the old one"


def test_atomic_path(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.seg.nrrd"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".seg.nrrd")
    assert target.read_text() == "whole"

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["x.seg.nrrd"]


def test_atomic_folder(tmp_path: Path) -> None:
    target = tmp_path / "explanation"
    for text in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / f"{text}.txt").write_text(text)
        assert [path.name for path in target.iterdir()] == [f"{text}.txt"]

    def failing() -> None:
        with atomic_folder(target) as temporary:
            (temporary / "half.txt").write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing()
    assert [path.name for path in tmp_path.iterdir()] == ["explanation"]
    assert [path.name for path in target.iterdir()] == ["second.txt"]


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match=r"x\.nrrd cannot be written"):
        write_image(make(), tmp_path / "file" / "x.nrrd")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_folder_that_one_may_not_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match="may write to"):
        write_image(make(), tmp_path / "x.nrrd")
