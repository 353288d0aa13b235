"""What is sent holds voxels and geometry alone, and what is damaged is noticed before Slicer reads it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_sequence
from OtherwiseLib.files import nrrd


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7)),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64"]),
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 5)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    order=st.sampled_from("<>"),
)
def test_what_is_written_is_read_where_it_lay(tmp_path_factory, shape, dtype, angles, spacing, origin, order) -> None:
    (a, b, c), affine = angles, np.eye(4)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine[:3, :3] = turn @ tilt * np.sign(c or 1) * spacing
    affine[:3, 3] = origin
    voxels = np.random.default_rng(0).integers(0, 100, shape).astype(np.dtype(dtype).newbyteorder(order))
    path = nrrd.write(tmp_path_factory.mktemp("n") / "image.nrrd", voxels, affine)
    image = read_image(path)
    np.testing.assert_array_equal(image.array[0], voxels.transpose(2, 1, 0))
    np.testing.assert_allclose(image.geometry.affine, affine, atol=1e-9)
    again = nrrd.read(path)
    np.testing.assert_array_equal(again.voxels, voxels)
    np.testing.assert_allclose(again.affine, affine, atol=1e-9)
    assert not again.listed


@pytest.mark.parametrize("channels", [1, 3])
def test_a_path_as_the_server_writes_it_is_read_image_by_image(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(3)
    geometry = Geometry((4, 3, 2), np.diag([-0.5, 0.5, 3, 1]))
    images = [Image(rng.integers(0, 255, (channels, 4, 3, 2)).astype(np.uint8), geometry) for _ in range(5)]
    write_sequence(images, [0, 1, 2, 3, 4], tmp_path / "path.seq.nrrd")
    read = nrrd.read(tmp_path / "path.seq.nrrd")
    assert read.listed
    assert read.voxels.shape == (5, 2, 3, 4) + ((3,) if channels == 3 else ())
    for image, voxels in zip(images, read.voxels, strict=True):
        wanted = image.array.transpose(3, 2, 1, 0)
        np.testing.assert_array_equal(voxels, wanted if channels == 3 else wanted[..., 0])
    np.testing.assert_allclose(read.affine, geometry.affine, atol=1e-9)


def test_no_more_is_unpacked_than_announced(tmp_path: Path) -> None:
    path = nrrd.write(tmp_path / "bomb.nrrd", np.zeros((200, 512, 512), np.int16), np.eye(4))
    path.write_bytes(path.read_bytes().replace(b"sizes: 512 512 200", b"sizes: 512 512 001", 1))
    tracemalloc.start()
    with pytest.raises(nrrd.NrrdError, match="incomplete"):
        nrrd.read(path)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_colour_is_written_too(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    path = nrrd.write(tmp_path / "image.nrrd", voxels, np.eye(4))
    assert nrrd.read(path).voxels.shape == voxels.shape
    np.testing.assert_array_equal(read_image(path).array, voxels.transpose(3, 2, 1, 0))


def test_only_voxels_and_geometry_are_sent(tmp_path: Path) -> None:
    path = nrrd.write(tmp_path / "image.nrrd", np.zeros((1, 2, 3), np.int16), np.eye(4))
    fields, _ = nrrd.read_header(path)
    allowed = {"type", "dimension", "space", "sizes", "space directions", "kinds", "endian", "encoding", "space origin"}
    assert set(fields) == allowed
    assert b":=" not in path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("encoding", ["gzip", "raw"])
def test_a_truncated_file_is_noticed(tmp_path: Path, share: float, encoding: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (8, 9, 10)).astype(np.uint8)
    path = nrrd.write(tmp_path / "image.nrrd", voxels, np.eye(4))
    if encoding == "raw":
        header = path.read_bytes().split(b"\n\n", 1)[0].replace(b"gzip", b"raw")
        path.write_bytes(header + b"\n\n" + voxels.tobytes())
    nrrd.check(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(nrrd.NrrdError):
        nrrd.check(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sizes", "0 2 3"), ("sizes", "x"), ("sizes", "99999 99999 99999"), ("type", "block"), ("encoding", "bzip2")],
)
def test_a_lying_header_is_noticed(tmp_path: Path, field: str, value: str) -> None:
    path = nrrd.write(tmp_path / "image.nrrd", np.zeros((1, 2, 3), np.int16), np.eye(4))
    lines = path.read_bytes().split(b"\n")
    changed = [f"{field}: {value}".encode() if line.startswith(f"{field}:".encode()) else line for line in lines]
    path.write_bytes(b"\n".join(changed))
    with pytest.raises(nrrd.NrrdError):
        nrrd.check(path)


def test_voxels_in_another_file_are_not_fetched(tmp_path: Path) -> None:
    path = nrrd.write(tmp_path / "image.nrrd", np.zeros((1, 2, 3), np.int16), np.eye(4))
    path.write_bytes(path.read_bytes().replace(b"\nencoding", b"\ndata file: /etc/passwd\nencoding", 1))
    with pytest.raises(nrrd.NrrdError, match="another file"):
        nrrd.check(path)
