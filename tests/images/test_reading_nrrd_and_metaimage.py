"""NRRD and MetaImage are read as ITK reads them, over generated headers of all fields that vary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.reading import read_image
from support.compared_reading import VOXELS, as_itk, assert_same


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
    "blanks in vectors": {
        "space_directions": "( 0.8, 0, 0 ) (0 , 0.9 , 0) (0, 0,2.5)",
        "space_origin": "( -40, 50,-60 )",
    },
    "micrometres": {"space_units": '"um" "um" "um"'},
}


@pytest.mark.parametrize("kind", NRRDS)
def test_nrrd(tmp_path: Path, kind: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", **NRRDS[kind])
    assert_same(read_image(path), as_itk(path))
    np.testing.assert_array_equal(read_image(path).array[0], VOXELS)


@pytest.mark.parametrize("name", ["a.raw", "./a.raw", "Schädel 1.raw", "頭.raw"])
def test_nrrd_with_its_voxels_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(VOXELS.tobytes(order="F"))
    assert_same(read_image(nrrd(tmp_path / "a.nhdr", b"", data_file=name)), as_itk(tmp_path / "a.nhdr"))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"endian": ""}, "order of its bytes"),
        ({"endian": "", "encoding": ""}, "order of its bytes"),
        ({"data_file": "gone.raw"}, "gone.raw, is not there"),
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


@pytest.mark.parametrize("name", ["./a.raw", "Schädel 1.raw", "頭.raw"])
def test_metaimage_with_its_voxels_in_this_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(VOXELS.tobytes(order="F"))
    path = metaimage(tmp_path / "a.mhd", b"", "BinaryData = True", f"ElementDataFile = {name}")
    assert_same(read_image(path), as_itk(path))


def test_metaimage_whose_voxels_are_gone_names_their_file(tmp_path: Path) -> None:
    path = metaimage(tmp_path / "a.mhd", b"", "BinaryData = True", "ElementDataFile = gone.raw")
    with pytest.raises(ImageError, match=r"gone\.raw, is not there"):
        read_image(path)


def test_metaimage_of_a_plane_with_three_spacings(tmp_path: Path) -> None:
    lines = ("NDims = 2", "DimSize = 7 30", "BinaryData = True", "ElementSpacing = 0.8 0.9 1", "Offset = 1 2 3")
    path = metaimage(tmp_path / "a.mha", VOXELS.tobytes(order="F"), *lines)
    assert_same(read_image(path), as_itk(path))
