"""Files that lie about their size, and files that kill decoders: refused in little memory and little time."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from otherwise.errors import ImageError
from otherwise.images.formats.dicom_decoding import Decoder
from otherwise.images.formats.limits import MAX_SLICES, BoundedFile, read_voxels
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image

WriteDicom = Callable[..., Path]
GREY = np.random.default_rng(0).integers(0, 200, (16, 16)).astype(np.uint8)


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert caught.value.hint
    return str(caught.value)


def stream(form: str, size: int = 16, **options: object) -> bytes:
    made = io.BytesIO()
    PIL.Image.fromarray(np.resize(GREY, (size, size))).save(made, form, **options)
    return made.getvalue()


@pytest.fixture
def compressed(tmp_path: Path, write_dicom: WriteDicom) -> Callable[[str, bytes], Path]:
    def make(syntax: str, pixels: bytes) -> Path:
        return write_dicom(tmp_path / "a.dcm", GREY, PixelData=encapsulate([pixels]), TransferSyntaxUID=syntax)

    return make


Compressed = Callable[[str, bytes], Path]


def test_a_jpeg_2000_that_kills_the_decoder_does_not_kill_the_reader(compressed: Compressed) -> None:
    """A sampling of zero divides by zero in C++, which is no exception."""
    good = stream("JPEG2000", no_jp2=True, irreversible=False)
    assert np.array_equal(read_image(compressed(JPEG2000Lossless, good)).array[0, ..., 0].T, GREY)
    siz = good.index(b"\xff\x51")
    evil = bytearray(good)
    evil[siz + 41] = 0  # XRsiz (ISO 15444-1 A.5.1)
    assert "compressed pixels are damaged" in refusal(compressed(JPEG2000Lossless, bytes(evil)))


def test_the_decoder_is_not_waited_for_without_end(compressed: Compressed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(JPEG2000Lossless, stream("JPEG2000", no_jp2=True))
    monkeypatch.setattr(Decoder, "__init__", lambda self: vars(self).update(seconds=0.0, _process=None))
    assert "compressed pixels are damaged" in refusal(path)


@pytest.mark.parametrize(("form", "syntax"), [("JPEG", JPEGBaseline8Bit), ("JPEG2000", JPEG2000Lossless)])
def test_compressed_pixels_that_are_larger_than_the_header_says(compressed: Compressed, form: str, syntax: str) -> None:
    options = {"no_jp2": True} if form == "JPEG2000" else {}
    assert "64 x 64" in refusal(compressed(syntax, stream(form, 64, **options)))
    huge = bytearray(stream(form, **options))
    at = huge.index(b"\xff\x51") + 6 if form == "JPEG2000" else huge.index(b"\xff\xc0") + 5
    huge[at : at + 8 if form == "JPEG2000" else at + 4] = (
        struct.pack(">II", 2**31, 2**31) if form == "JPEG2000" else b"\xff\xff\xff\xff"
    )
    assert "its header says 16 x 16" in refusal(compressed(syntax, bytes(huge)))


@pytest.mark.parametrize("where", ["before the pixels", "in the pixels", "behind the pixels"])
def test_a_deflated_dicom_bomb(tmp_path: Path, write_dicom: WriteDicom, where: str) -> None:
    path = write_dicom(tmp_path / "a.dcm", GREY)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if where == "in the pixels":
        data.PixelData = bytes(2**27)
    else:
        data.add_new(0x00091001 if where.startswith("before") else 0x7FE10011, "OB", bytes(2**27))
    data.save_as(path)
    assert path.stat().st_size < 2**20
    refusal(path, max_bytes=2**20)
    list_images(path.parent, empty=True)


def test_more_frames_or_files_than_anybody_has(tmp_path: Path, write_dicom: WriteDicom) -> None:
    one = np.zeros((1, 1), np.uint8)
    path = write_dicom(tmp_path / "a.dcm", one, NumberOfFrames=10**9)
    assert f"limit is {MAX_SLICES}" in refusal(path)
    path = write_dicom(tmp_path / "b.dcm", one, NumberOfFrames=-1)
    refusal(path)


def test_voxels_that_begin_at_the_end_of_a_bomb(tmp_path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[108:112] = struct.pack("<f", 1e12)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(content)))
    assert "impossible place" in refusal(tmp_path / "b.nii.gz")


def test_a_png_chunk_that_declares_four_gigabytes(tmp_path: Path) -> None:
    whole = stream("PNG")
    end = whole.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(whole[:end] + struct.pack(">I", 2**32 - 1) + b"tEXt" + bytes(50))
    refusal(tmp_path / "a.png")
    asked: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    bounded = BoundedFile(Counted(bytes(100)))
    bounded.seek(40)
    assert len(bounded.read(2**32)) == 60
    assert asked == [60]


def test_what_a_header_declares_is_not_reserved_before_it_is_there() -> None:
    asked: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    with pytest.raises(ImageError, match="ends before"):
        read_voxels(Counted(bytes(100)), 2**31)
    assert max(asked) <= 2**24


def test_a_picture_that_is_also_a_header_of_another_format_follows_no_path(tmp_path: Path) -> None:
    """ITK would choose its reader by the ending, and MetaImage's opens the file that the header names."""
    (tmp_path / "secret.raw").write_bytes(b"\x42" * 256)
    text = (
        b"x\0\nObjectType = Image\nNDims = 2\nDimSize = 16 16\nElementType = MET_UCHAR\nElementDataFile = secret.raw\n"
    )
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    whole = stream("PNG")
    (tmp_path / "a.mhd").write_bytes(whole[:33] + chunk + whole[33:])
    assert np.array_equal(read_image(tmp_path / "a.mhd").array[0, ..., 0].T, GREY)


def test_a_tiff_whose_pages_lead_in_a_circle(tmp_path: Path) -> None:
    """ITK's reader counts pages without end."""
    PIL.Image.fromarray(GREY).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    (tmp_path / "a.tif").write_bytes(content)
    assert "circle" in refusal(tmp_path / "a.tif")


def test_a_header_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"# and so on\n" * 2_000_000)
    refusal(tmp_path / "a.nrrd")


def test_a_damaged_file_does_not_hide_the_other_studies(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "good.dcm", GREY)
    bad = write_dicom(tmp_path / "bad.dcm", GREY)
    content = bad.read_bytes()
    at = content.index(b"\x20\x00\x0d\x00UI")  # of the study's id, whose type becomes one that there is not
    bad.write_bytes(content[: at + 4] + b"U{" + content[at + 6 :])
    studies = list_images(tmp_path).studies
    assert [image.paths for study in studies for image in study.images] == [(tmp_path / "good.dcm",)]
