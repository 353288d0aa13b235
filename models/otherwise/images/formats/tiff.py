"""Read by tifffile the kinds of TIFF that ITK misreads or refuses.

These are tiles, colours in planes of their own, transparent grey, floats of 16 and 64 bits, the lowest value as white,
and pictures that are stored turned or mirrored: through libtiff's RGBA interface ITK gets 8 bits of them, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from otherwise.errors import ImageError
from otherwise.images.formats.limits import check_real, check_size, plain
from otherwise.images.image import Geometry, Image

_BITS, _PHOTOMETRIC, _RESOLUTION_UNIT, _TILE_WIDTH, _SAMPLE_FORMAT = 258, 262, 296, 322, 339
_ORIENTATION, _SAMPLES, _PLANES, _EXTRA_SAMPLES = 274, 277, 284, 338
_COMPRESSION = 259
_COMPRESSIONS_OF_ITK = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)
"""None, CCITT, LZW, JPEG, Deflate and PackBits."""
_MIN_IS_WHITE, _FLOAT, _SEPARATE = 0, 3, 2
_ALPHA = (1, 2)
"""Values of ExtraSamples that are transparency (TIFF 6.0): associated, unassociated."""
_MILLIMETRES = {2: 25.4, 3: 10.0}
"""Millimetres by resolution unit: inch, centimetre."""
_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: Path) -> bool:
    """Return whether a file is TIFF, by its content."""
    with path.open("rb") as file:
        return file.read(4) in _BEGINNINGS


def is_misread_by_itk(tags: Mapping[int, Any]) -> bool:
    """Return whether ITK would read a TIFF page of these tags wrongly, or not at all."""
    bits, formats = _tuple(tags.get(_BITS, 1)), _tuple(tags.get(_SAMPLE_FORMAT, 1))
    return (
        _TILE_WIDTH in tags
        or tags.get(_ORIENTATION, 1) != 1
        or tags.get(_PLANES) == _SEPARATE
        or tags.get(_SAMPLES) == 2
        or tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE
        or (_FLOAT in formats and any(count != 32 for count in bits))
    )


def check_compression(tags: Mapping[int, Any]) -> None:
    """Refuse a TIFF page whose compression ITK cannot decode.

    Raises:
        ImageError: naming the compression.
    """
    compression = int(tags.get(_COMPRESSION, 1))
    if compression not in _COMPRESSIONS_OF_ITK:
        name = next((known.name for known in tifffile.COMPRESSION if known == compression), str(compression))
        raise ImageError(f"It is TIFF compressed by {name}, which cannot be decoded.", "Save it without compression.")


def channels_of(tags: Mapping[int, Any], samples: int) -> list[int]:
    """Return which samples of a pixel are channels: all but transparency, and but one unnamed beside red, green, blue.

    Args:
        tags: Tags of a TIFF page.
        samples: Samples of a pixel.
    """
    colours = 1 if tags.get(_PHOTOMETRIC) in (0, 1) else min(3, samples)
    kinds = _tuple(tags.get(_EXTRA_SAMPLES, ()))
    extra = [kinds[at] if at < len(kinds) else 0 for at in range(samples - colours)]
    if colours == 3 and len(extra) == 1:
        return [0, 1, 2]
    return [*range(colours), *(colours + at for at, kind in enumerate(extra) if kind not in _ALPHA)]


def tiff_image(path: Path, id: str, max_bytes: int) -> Image:
    """Read the one page of a TIFF file.

    Raises:
        ImageError: if it has several pages, CMYK colours, or cannot be decoded.
        Exception: any error of tifffile for a damaged file.
    """
    with tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise ImageError(f"It holds {len(file.pages)} pages.", "Save the one picture you mean in grey or RGB.")
        page = file.pages.first
        kind = f"{'tiled ' if page.is_tiled else ''}TIFF of {page.bitspersample}-bit {page.dtype or 'unknown'} values"
        if page.dtype is None:
            raise ImageError(f"It is {kind}.", "Save it with 8, 16 or 32 bits.")
        check_size(page.shape, page.dtype.itemsize, max_bytes)
        if page.is_tiled:
            check_size((page.tilewidth, page.tilelength, page.samplesperpixel), page.dtype.itemsize, max_bytes)
        check_real(np.dtype(np.uint8) if page.dtype == np.bool_ else page.dtype)
        _check_present(page, path.stat().st_size)
        photometric = tifffile.PHOTOMETRIC(page.photometric)
        if photometric not in (0, 1, 2) or len(page.shape) not in (2, 3):
            raise ImageError(f"It has the colours {photometric.name}.", "Save it in grey or RGB.")
        try:
            pixels = page.asarray(maxworkers=1)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            what = f"{kind}, compressed by {tifffile.COMPRESSION(page.compression).name}"
            raise ImageError(f"It is {what}, which cannot be decoded.", "Save it without compression.") from None
        bits, unit = page.bitspersample, int(page.tags.valueof(_RESOLUTION_UNIT, 1))
        found = [_spacing(page.tags.valueof(tag), unit) for tag in (282, 283)]
        spacing = [step or 1.0 for step in found]
        orientation = int(page.tags.valueof(_ORIENTATION, 1))
        tags = {tag: page.tags.valueof(tag, ()) for tag in (_PHOTOMETRIC, _EXTRA_SAMPLES)}
        if page.shape != pixels.shape or (pixels.ndim == 3 and int(page.planarconfig) == 2):
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype == np.bool_:
        pixels, bits = pixels.astype(np.uint8) * 255, 8
    if photometric == _MIN_IS_WHITE:
        if pixels.dtype.kind != "u":
            raise ImageError(f"It is {kind} with the lowest as white.", "Save it with the lowest value as black.")
        pixels = (2**bits - 1 - pixels.astype(np.int64)).astype(pixels.dtype)
    colour = np.atleast_3d(pixels)
    colour = colour[..., channels_of(tags, colour.shape[2])]
    colour = _upright(colour, orientation)
    if orientation in (5, 6, 7, 8):
        spacing = spacing[::-1]
    array = np.ascontiguousarray(np.moveaxis(colour, -1, 0).transpose(0, 2, 1)[..., None])
    columns, rows = array.shape[1:3]
    geometry = Geometry((columns, rows, 1), np.diag([-spacing[0], -spacing[1], 1.0, 1.0]))
    return Image(plain(array), geometry, id, 2, unit="mm" if any(found) else "px")


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels ``(rows, columns, channels)`` upright (TIFF 6.0, Orientation)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _check_present(page: tifffile.TiffPage, length: int) -> None:
    """Refuse a truncated file, whose missing tiles tifffile would fill with zeros."""
    places = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(start + count > length or not count for start, count in places):
        raise ImageError("It ends before its last pixel.", "Copy or export it again.")


def _spacing(resolution: tuple[int, int] | None, unit: int) -> float | None:
    """Return millimetres between pixels, as ITK does; None where unknown."""
    if unit not in _MILLIMETRES or not resolution or min(resolution) <= 0:
        return None
    return _MILLIMETRES[unit] * resolution[1] / resolution[0]


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)
