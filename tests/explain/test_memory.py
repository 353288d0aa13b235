"""What does not fit into memory is refused before the work, and before its voxels are read, with what would fit."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ImageError
from otherwise.explain import memory
from otherwise.explain.explainer import Explainer
from otherwise.explain.memory import BYTES_PER_VOXEL, WORKSPACE, refuse_declared, refuse_too_large
from otherwise.explain.request import ExplainRequest, read_for_explanation
from otherwise.images.formats import limits
from otherwise.images.formats.limits import DeclaredSize
from otherwise.images.image import Geometry, Image
from otherwise.images.kinds import Projection
from otherwise.images.memory import available_bytes
from otherwise.images.reading import read_image
from support.square_models import SquareClassifier, eager_agent

GIB = 2**30


@pytest.mark.parametrize("shape", [(6000, 5000, 1), (600, 500, 400)])
def test_an_image_that_does_not_fit_is_refused_with_what_would(shape: tuple[int, int, int]) -> None:
    image = Image(np.broadcast_to(np.uint8(0), (1, *shape)), Geometry(shape, np.eye(4)))
    needed = image.array.size * BYTES_PER_VOXEL + WORKSPACE
    refuse_too_large(image, needed)
    with pytest.raises(ImageError, match="Close other programs"):
        refuse_too_large(image, WORKSPACE)
    with pytest.raises(ImageError, match=r"voxels needs about .* GiB, and .* GiB are free. .*million voxels"):
        refuse_too_large(image, needed - 1)
    declared = DeclaredSize((1, *shape), 1)
    refuse_declared(declared, needed + declared.voxels)
    with pytest.raises(ImageError, match=r"An explanation of 6000? ?.* voxels needs about .* GiB"):
        refuse_declared(declared, needed + declared.voxels - 1)


def test_what_is_available_is_asked_of_the_system() -> None:
    assert available_bytes() > 0


def nifti(path: Path) -> None:
    header = bytearray(352)
    header[:4] = np.int32(348).tobytes()
    header[40:56] = np.array([3, 512, 512, 512, 1, 1, 1, 1], np.int16).tobytes()
    header[70:74] = np.array([4, 16], np.int16).tobytes()
    header[76:108] = np.ones(8, np.float32).tobytes()
    header[108:112] = np.float32(352).tobytes()
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header)))


def nrrd(path: Path) -> None:
    path.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 512 512 512\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )


def metaimage(path: Path) -> None:
    path.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 512 512 512\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )


def png(path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    size = (6000).to_bytes(4, "big") * 2
    rows = zlib.compress(b"\0" * 100)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + bytes([16, 0, 0, 0, 0]))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def jpeg(path: Path) -> None:
    import PIL.Image

    PIL.Image.new("L", (6000, 6000)).save(path, "JPEG")


def tiff(path: Path, **options: object) -> None:
    import tifffile

    tifffile.imwrite(path, np.zeros((6000, 6000), np.uint16), compression="zlib", **options)


def tiled(path: Path) -> None:
    tiff(path, tile=(256, 256))


def dicom(path: Path, frames: int = 1, size: int = 6000) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "CT", "MONOCHROME2", 1
    data.Rows = data.Columns = size
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = b"\0\0"
    data.is_little_endian, data.is_implicit_VR = True, False
    data.save_as(path, write_like_original=False)


HEADERS: dict[str, Callable[[Path], None]] = {
    "volume.nii.gz": nifti,
    "volume.nrrd": nrrd,
    "volume.mha": metaimage,
    "picture.png": png,
    "picture.jpg": jpeg,
    "picture.tif": tiff,
    "tiled.tif": tiled,
    "plane.dcm": dicom,
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_format_is_refused_from_its_header(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    HEADERS[name](path)
    classifier = SquareClassifier(InputSpec((16, 16), intensity=(0.0, 1.0)))
    explainer = Explainer(classifier, eager_agent(classifier))
    monkeypatch.setattr(memory, "available_bytes", lambda: GIB)
    with pytest.raises(ImageError, match=r"an explanation of .*(6000 x 6000|512 x 512 x 512) voxels needs about"):
        read_for_explanation(explainer, path, ExplainRequest())
    # Of a projection the volume has only to be read.
    monkeypatch.setattr(limits, "available_bytes", lambda: GIB // 8)
    with pytest.raises(ImageError, match=r"reading .*(6000 x 6000|512 x 512 x 512) voxels takes about .* GiB of mem"):
        read_for_explanation(explainer, path, ExplainRequest(projection=Projection.mean))
    with pytest.raises(ImageError, match=r"reading .* voxels takes about .* GiB of memory, and 0\.1 GiB are free"):
        read_image(path)


def test_a_series_is_refused_from_the_headers_of_its_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    series = generate_uid()
    for number in range(40):
        path = tmp_path / f"{number}.dcm"
        dicom(path, size=2048)
        data = pydicom.dcmread(path)
        data.SeriesInstanceUID, data.PixelSpacing = series, [1, 1]
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
        data.save_as(path)
    monkeypatch.setattr(limits, "available_bytes", lambda: GIB)
    with pytest.raises(ImageError, match="reading 2048 x 2048 x 40 voxels takes about"):
        read_image(tmp_path)


def test_a_small_image_is_read_whatever_memory_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import PIL.Image

    PIL.Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(tmp_path / "small.png")
    monkeypatch.setattr(limits, "available_bytes", lambda: 0)
    assert read_image(tmp_path / "small.png").geometry.shape == (32, 32, 1)
