"""TIFF and PNG are read as tifffile and Pillow read them, over all layouts that vary."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from otherwise.errors import ImageError
from otherwise.images.reading import read_image


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


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "group4"])
def test_tiff_of_one_bit_is_grey(tmp_path: Path, compression: str | None) -> None:
    black = np.random.default_rng(1).integers(0, 255, (20, 30)).astype(np.uint8)
    picture = PIL.Image.fromarray(black).convert("1")
    picture.save(tmp_path / "a.tif", compression=compression)
    array = read_image(tmp_path / "a.tif").array
    assert array.shape == (1, 30, 20, 1)
    np.testing.assert_array_equal(array[0, ..., 0].T, np.asarray(picture.convert("L")))


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("samples", [2, 4, 5])
@pytest.mark.parametrize("alpha", [False, True])
def test_tiff_of_several_grey_samples_loses_only_transparency(
    tmp_path: Path, tile: tuple[int, int] | None, samples: int, alpha: bool
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (33, 40, samples)).astype(np.uint8)
    extra = ["unspecified"] * (samples - 2) + ["unassalpha" if alpha else "unspecified"]
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": extra}
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=tile, **options)
    array = read_image(tmp_path / "a.tif").array
    np.testing.assert_array_equal(array[..., 0].transpose(2, 1, 0), pixels[..., : samples - alpha])


@pytest.mark.parametrize("compression", [50000, 34925, 34712])
def test_tiff_of_an_unusual_compression_is_refused_by_its_name(tmp_path: Path, compression: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(600, dtype=np.uint8).reshape(20, 30))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags[259].overwrite(compression)
    with pytest.raises(ImageError, match=f"compressed by {tifffile.COMPRESSION(compression).name}"):
        read_image(tmp_path / "a.tif")


def test_png_of_grey_with_transparency_in_16_bits_is_refused_by_its_kind(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 6, 5, 16, 4, 0, 0, 0)
    rows = zlib.compress(5 * (b"\0" + bytes(range(24))))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(ImageError, match="grey with transparency in 16 bits"):
        read_image(tmp_path / "a.png")
