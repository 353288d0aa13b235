"""Whatever is wrong with a file: one line that says so, nothing on the console, and never made-up voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk  # noqa: N813

from otherwise.errors import ImageError
from otherwise.images.reading import read_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def refused(capfd: Capture) -> Callable[..., str]:
    """Ask for an image that must be refused; the message."""

    def ask(path: Path, **options: int) -> str:
        with pytest.raises(ImageError) as caught:
            read_image(path, **options)
        console = capfd.readouterr()
        message = str(caught.value)
        assert console.out + console.err == ""
        assert "\n" not in message
        assert caught.value.hint
        for leak in ("0x", "ITK", "Traceback", str(path.parent)):
            assert leak not in message
        return message

    return ask


def sample(folder: Path, name: str, compress: bool = False) -> Path:
    rng = np.random.default_rng(0)
    plane = name.endswith((".png", ".jpg", ".tif"))
    array = rng.integers(0, 255, (30, 40) if plane else (10, 30, 40)).astype(np.uint8 if plane else np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name), useCompression=compress)
    return folder / name


SAMPLES = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.nhdr", "a.png", "a.jpg", "a.tif"]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("compress", [False, True])
def test_truncated_file(tmp_path: Path, refused: Callable[..., str], name: str, share: float, compress: bool) -> None:
    whole = sample(tmp_path, name, compress).read_bytes()
    share = min(share, 0.5) if name.endswith("hd") or name.endswith("hdr") else share
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    assert refused(tmp_path / name).startswith(name)


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_header_whose_voxels_are_truncated_or_gone(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    path = sample(tmp_path, name)
    voxels = next(file for file in tmp_path.iterdir() if file != path)
    voxels.write_bytes(voxels.read_bytes()[:-100])
    refused(path)
    voxels.unlink()
    refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.png"])
def test_compressed_voxels_with_wrong_bytes(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    path = sample(tmp_path, name, compress=True)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.dcm", "a", "a.txt"])
def test_garbage(tmp_path: Path, refused: Callable[..., str], name: str) -> None:
    (tmp_path / name).write_bytes(np.random.default_rng(1).bytes(5000))
    assert "in no format that we know" in refused(tmp_path / name)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha", "a.tif"])
def test_any_header_bytes_end_in_an_image_or_one_line(tmp_path: Path, capfd: Capture, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(sample(tmp_path, name).read_bytes())
    for place in rng.integers(0, 352, 4):
        content[place] = rng.integers(256)
    (tmp_path / name).write_bytes(content)
    message = ""
    try:
        read_image(tmp_path / name, max_bytes=2**20)
    except ImageError as error:
        message = str(error)
    assert "\n" not in message
    console = capfd.readouterr()
    assert console.out + console.err == ""


def test_missing_file_and_folders_without_images(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "no file or folder nope.nii" in refused(tmp_path / "nope.nii")
    assert "no DICOM images" in refused(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert "no DICOM images" in refused(tmp_path)
    assert "in no format" in refused(tmp_path / "notes.txt")


def nifti(path: Path, shape: tuple[int, ...] = (4, 5, 6), dtype: type = np.int16, **fields: object) -> Path:
    file = nibabel.Nifti1Image(np.zeros(shape, dtype), np.eye(4), dtype=dtype)
    nibabel.save(file, path)
    header = file.header.copy()
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[len(header.binaryblock) :])
    return path


def test_nifti_that_declares_more_than_there_can_be(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = nifti(tmp_path / "a.nii", dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    assert "32000 x 32000 x 32000" in refused(path)
    assert "the limit is 0.0 GiB" in refused(nifti(tmp_path / "b.nii"), max_bytes=100)
    refused(nifti(tmp_path / "c.nii", dim=[3, -4, 5, 6, 1, 1, 1, 1]))
    refused(nifti(tmp_path / "d.nii", dim=[3, 0, 5, 6, 1, 1, 1, 1]))


def test_other_headers_that_declare_more_than_there_can_be(tmp_path: Path, refused: Callable[..., str]) -> None:
    for name, old, new in [
        ("a.nrrd", b"sizes: 40 30 10", b"sizes: 99999 99999 99"),
        ("a.mha", b"40 30 10", b"99999 99999 9"),
    ]:
        path = sample(tmp_path, name)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        assert "limit" in refused(path)
    PIL.Image.new("L", (3000, 3000)).save(tmp_path / "a.png")
    assert "limit" in refused(tmp_path / "a.png", max_bytes=2**20)


@pytest.mark.parametrize("where", ["sform", "qform"])
def test_nifti_without_possible_geometry(tmp_path: Path, refused: Callable[..., str], where: str) -> None:
    codes = {"sform_code": int(where == "sform"), "qform_code": int(where == "qform")}
    zero = {"srow_x": [0, 0, 0, 0]} if where == "sform" else {"pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}
    nan = {"srow_y": [np.nan, 1, 0, 0]} if where == "sform" else {"quatern_b": np.nan}
    assert "zero" in refused(nifti(tmp_path / "zero.nii", **codes, **zero))
    refused(nifti(tmp_path / "nan.nii", **codes, **nan))


def test_sheared_axes(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "right angles" in refused(nifti(tmp_path / "a.nii", srow_x=[1, 0.2, 0, 0], qform_code=0))
    path = sample(tmp_path, "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"(1,0,0) (0,1,0)", b"(1,0,0) (0.2,1,0)"))
    assert "right angles" in refused(path)
    path = sample(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix = 1 0 0", b"TransformMatrix = 1 0.5 0"))
    assert "right angles" in refused(path)


def test_zero_spacing_in_text_headers(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = sample(tmp_path, "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"(1,0,0)", b"(0,0,0)"))
    assert "zero" in refused(path)
    path = sample(tmp_path, "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1"))
    assert "zero" in refused(path)


def test_series_of_volumes_and_complex_numbers(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "series of 7 volumes" in refused(nifti(tmp_path / "a.nii", (4, 5, 6, 7)))
    assert "no real numbers" in refused(nifti(tmp_path / "b.nii", dtype=np.complex64))
    sitk.WriteImage(sitk.Image([4, 5, 6, 7], sitk.sitkInt16), str(tmp_path / "c.nrrd"))
    refused(tmp_path / "c.nrrd")
    sitk.WriteImage(sitk.Image([4, 5, 6, 7], sitk.sitkInt16), str(tmp_path / "d.mha"))
    refused(tmp_path / "d.mha")
    pages = [PIL.Image.new("L", (4, 5)) for _ in range(3)]
    pages[0].save(tmp_path / "e.tif", save_all=True, append_images=pages[1:])
    assert "3 pages" in refused(tmp_path / "e.tif")
    PIL.Image.new("CMYK", (4, 5)).save(tmp_path / "f.jpg")
    assert "CMYK" in refused(tmp_path / "f.jpg")


def test_header_cannot_point_to_files_elsewhere(tmp_path: Path, refused: Callable[..., str]) -> None:
    """A header sent to a server must not bring back that server's other files as voxels."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"x" * 40 * 30 * 10 * 2)
    (tmp_path / "inbox").mkdir()
    for name in ("a.nhdr", "a.mhd"):
        path = sample(tmp_path / "inbox", name)
        text = path.read_text()
        own = "a.raw.gz" if "a.raw.gz" in text else "a.zraw" if "a.zraw" in text else "a.raw"
        for elsewhere in (str(secret), "../secret.bin"):
            path.write_text(text.replace(own, elsewhere))
            assert "another folder" in refused(path)
