"""PNG, JPEG and TIFF. Pillow looks whether they are whole, ITK reads them with the spacing that Slicer would show."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
import SimpleITK as sitk  # noqa: N813

from otherwise.errors import ImageError
from otherwise.images.formats.limits import BoundedFile, check_real, check_size, plain
from otherwise.images.image import Image
from otherwise.images.itk import from_itk, quiet_itk

# Named, since ITK would choose a reader by the ending, and some of them follow paths that stand in a header.
_READERS = {"PNG": "PNGImageIO", "JPEG": "JPEGImageIO", "TIFF": "TIFFImageIO"}
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TRANSPARENT = {"LA", "La", "RGBA", "RGBa", "PA"}
_REFUSED = {"CMYK", "LAB", "HSV", "YCbCr"}


def begins_picture(head: bytes) -> bool:
    """Return whether a file that begins so is PNG, JPEG or TIFF."""
    return head.startswith(_BEGINNINGS)


def read_picture(path: Path, id: str, max_bytes: int) -> Image:
    """Read one plane, grey or RGB, as (i, j) = (column, row); transparency is dropped, 1 mm where no spacing is given.

    Raises:
        ImageError: if it has several pages or colours of print.
        Exception: whatever Pillow or ITK raise on a damaged file.
    """
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Pillow's word for a damaged TIFF directory
        picture = PIL.Image.open(BoundedFile(file), formats=tuple(_READERS))  # type: ignore[arg-type]
        mode, pages = picture.mode, getattr(picture, "n_frames", 1)
        check_size((*picture.size, 4), 1, max_bytes)
        if pages > 1 or mode in _REFUSED:
            what = f"holds {pages} pages" if pages > 1 else f"has the colours {mode}"
            raise ImageError(f"It {what}.", "Save the one picture you mean in grey or RGB.")
        if isinstance(picture, PIL.TiffImagePlugin.TiffImageFile):
            if picture.tag_v2.next:  # to itself, as Pillow sees one page only; libtiff would walk in a circle for ever
                raise ImageError("Its pages lead in a circle.", "Save it again.")
            _check_strips_present(picture, path)
        else:
            picture.load()  # ITK would fill a JPEG that ends early with grey
    image = from_itk(_read(path, _READERS.get(picture.format or "", "JPEGImageIO"), max_bytes), id)
    array = image.array
    check_real(array.dtype)
    if mode in _TRANSPARENT or array.shape[0] in (2, 4):
        array = array[:-1]
    return Image(plain(np.asarray(array)), image.geometry, id, 2)


def _read(path: Path, reader_name: str, max_bytes: int) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_name)
    reader.SetFileName(str(path))
    with quiet_itk():
        reader.ReadImageInformation()
        # Asked again: of a tag that is there twice, Pillow believes the last and libtiff the first.
        check_size((*reader.GetSize(), reader.GetNumberOfComponents()), 2, max_bytes)
        return reader.Execute()


def _check_strips_present(picture: PIL.TiffImagePlugin.TiffImageFile, path: Path) -> None:
    """Look for the ends of all strips or tiles; decoding them here would let libtiff print."""
    length = path.stat().st_size
    for offsets, counts in ((273, 279), (324, 325)):
        places = zip(picture.tag_v2.get(offsets, ()), picture.tag_v2.get(counts, ()), strict=True)
        if any(offset + count > length for offset, count in places):
            raise ImageError("It ends before its last pixel.", "Copy or export it again.")
