"""Read PNG, JPEG and TIFF. Pillow checks completeness, ITK reads them with the spacing that Slicer shows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from otherwise.errors import ImageError
from otherwise.images.formats.limits import BoundedFile, check_real, check_size, plain
from otherwise.images.formats.tiff import channels_of, check_compression, is_misread_by_itk, is_tiff, tiff_image
from otherwise.images.image import Geometry, Image, Unit
from otherwise.images.itk import from_itk, quiet_itk

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813

# Named, since ITK would choose a reader by the ending, and some readers follow paths in a header.
_READERS = {"PNG": "PNGImageIO", "JPEG": "JPEGImageIO", "TIFF": "TIFFImageIO"}
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY = {"1", "L", "I;16", "I"}
_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "I": 1, "F": 1, "LA": 2, "P": 3, "RGB": 3}
_ITEM_BYTES = {"I;16": 2, "I;16B": 2, "I": 4, "F": 4}
"""By Pillow's mode."""
_REFUSED = {"CMYK", "LAB", "HSV", "YCbCr"}


def begins_picture(head: bytes) -> bool:
    """Return whether a file with this beginning is PNG, JPEG or TIFF."""
    return head.startswith(_BEGINNINGS)


def read_picture(path: Path, id: str, max_bytes: int) -> Image:
    """Read one plane, grey or RGB, as (i, j) = (column, row); transparency is dropped.

    Without a resolution the geometry counts pixels (``Image.unit``).

    TIFF whose lowest value is white is inverted, as every viewer shows it.

    Raises:
        ImageError: if it has several pages, CMYK colours, or an unsupported kind of TIFF.
        Exception: any error of Pillow, tifffile or ITK for a damaged file.
    """
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Pillow's error for a damaged TIFF directory
        try:
            picture = PIL.Image.open(BoundedFile(file), formats=tuple(_READERS))  # type: ignore[arg-type]
        except PIL.UnidentifiedImageError:
            if not is_tiff(path):
                raise
            return tiff_image(path, id, max_bytes)
        mode, pages = picture.mode, getattr(picture, "n_frames", 1)
        check_size((*picture.size, _CHANNELS.get(mode, 4)), _ITEM_BYTES.get(mode, 1), max_bytes)
        if pages > 1 or mode in _REFUSED:
            what = f"holds {pages} pages" if pages > 1 else f"has the colours {mode}"
            raise ImageError(f"It {what}.", "Save the one picture you mean in grey or RGB.")
        if isinstance(picture, PIL.TiffImagePlugin.TiffImageFile):
            if picture.tag_v2.next:  # it links to itself: Pillow sees one page, libtiff would loop for ever
                raise ImageError("Its pages lead in a circle.", "Save it again.")
            _check_strips_present(picture, path)
            if is_misread_by_itk(picture.tag_v2):
                return tiff_image(path, id, max_bytes)
            check_compression(picture.tag_v2)
        else:
            picture.load()  # ITK would fill a JPEG that ends early with grey
        if picture.format == "PNG" and _is_deep_grey_with_alpha(file):
            raise ImageError("It is grey with transparency in 16 bits.", "Save it without transparency.")
        if picture.format == "PNG" and (mode == "LA" or (mode in _GREY and "transparency" in picture.info)):
            return _grey_of_png(picture, id)
    image = from_itk(_read(path, _READERS.get(picture.format or "", "JPEGImageIO"), max_bytes), id)
    array = image.array
    check_real(array.dtype)
    if mode in _GREY:  # ITK makes colours of grey of less than 8 bits
        array = array[:1]
    elif isinstance(picture, PIL.TiffImagePlugin.TiffImageFile):
        array = array[channels_of(picture.tag_v2, array.shape[0])]
    elif array.shape[0] in (2, 4):  # the last is transparency
        array = array[:-1]
    return Image(plain(np.asarray(array)), image.geometry, id, 2, unit=_unit(image.geometry, picture))


def _unit(geometry: Geometry, picture: PIL.Image.Image) -> Unit:
    """Return the unit of the geometry: millimetres, or pixels of unknown size.

    ITK, and so Slicer, ignores the resolution of PNG, which is mostly that of a screen.
    """
    per_inch = tuple(round(float(value), 1) for value in picture.info.get("dpi") or ())
    return "px" if geometry.spacing[:2] == (1.0, 1.0) and per_inch != (25.4, 25.4) else "mm"


def _is_deep_grey_with_alpha(file: BinaryIO) -> bool:
    """Return whether a PNG is grey with transparency in 16 bits: Pillow keeps 8 of them, and ITK refuses it."""
    file.seek(24)  # bit depth and colour type (PNG 11.2.2)
    return file.read(2) == b"\x10\x04"


def _grey_of_png(picture: PIL.Image.Image, id: str) -> Image:
    """Return the grey of a PNG with transparency, which ITK does not read."""
    grey = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    grey = grey[..., 0] if grey.ndim == 3 else grey
    array = np.ascontiguousarray(grey.T[None, :, :, None])
    columns, rows = array.shape[1:3]
    return Image(plain(array), Geometry((columns, rows, 1), np.diag([-1.0, -1.0, 1.0, 1.0])), id, 2, unit="px")


def _read(path: Path, reader_name: str, max_bytes: int) -> sitk.Image:
    import SimpleITK as sitk  # noqa: N813  (90 MB: only where it is needed)

    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_name)
    reader.SetFileName(str(path))
    with quiet_itk():
        reader.ReadImageInformation()
        # Checked again: for a repeated tag, Pillow takes the last and libtiff the first.
        check_size((*reader.GetSize(), reader.GetNumberOfComponents()), 2, max_bytes)
        return reader.Execute()


def _check_strips_present(picture: PIL.TiffImagePlugin.TiffImageFile, path: Path) -> None:
    """Refuse a file whose strips or tiles reach beyond its end; decoding them would let libtiff print."""
    length = path.stat().st_size
    for offsets, counts in ((273, 279), (324, 325)):
        places = zip(picture.tag_v2.get(offsets, ()), picture.tag_v2.get(counts, ()), strict=True)
        if any(offset + count > length for offset, count in places):
            raise ImageError("It ends before its last pixel.", "Copy or export it again.")
