"""Read an image of any usual format, or refuse it with the reason in one line."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path

from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.formats.dicom import read_dicom_folder, read_dicom_series
from otherwise.images.formats.limits import MAX_BYTES
from otherwise.images.formats.registry import image_name, require_format
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage, find_image

__all__ = ["image_name", "read_image"]


def read_image(
    source: Path | FoundImage, *, id: str | None = None, part: str | None = None, max_bytes: int = MAX_BYTES
) -> Image:
    """Read a volume or a plane with its geometry.

    The content decides the format, not the name: DICOM (one file, or a folder with one series), NIfTI, NRRD, MetaImage,
    PNG, JPEG and TIFF. DICOM grey values are in the units of the modality (rescale or modality look-up table applied),
    and MONOCHROME1 is inverted within its stored range (PS3.3 C.7.6.3.1.2), so that bright is dense in every image.

    Args:
        source: File, folder of one DICOM series, or an image that ``images.listing`` found.
        part: ID of the image in a folder of several, see ``images.listing.find_image``.
        id: Name of the image; by default that of the file or folder; nothing about the patient in DICOM is used.
        max_bytes: Largest image that a header may declare.

    Returns:
        Image of integers or float32, ``(channels, i, j, k)``. ``dimension`` is 2 where there is one slice.

    Raises:
        ImageError: if there is no image, or it is damaged, too large, not one volume, or has no possible geometry.
            Voxels that are NaN or constant are not looked for here, see
            :func:`otherwise.images.image.check_content`.
    """
    if isinstance(source, FoundImage):
        found, path = source, source.files[0]
    else:
        found, path = None, Path(source)
    name = id or (found.id if found else image_name(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of pydicom and Pillow about damage that ends in an error here
            if part is not None:
                found = find_image(path, part)
            if found is not None and found.series:
                return read_dicom_series(found.files, name, max_bytes)
            if found is not None:
                path = found.files[0]
            if path.is_dir():
                return read_dicom_folder(path, name, max_bytes)
            return require_format(path).read(path, name, max_bytes)
    except FileNotFoundError:
        raise ImageError(f"There is no file or folder {path.name}.", "Check the path.") from None
    except ImageError as error:
        detail = error.detail[:1].lower() + error.detail[1:]
        raise ImageError(f"{path.name} cannot be used: {detail}", error.hint) from None
    except OtherwiseError:  # by the owner of the memory budget
        raise
    except MemoryError:
        raise ImageError(f"{path.name} does not fit into memory.", "Crop it, or use a larger machine.") from None
    except Exception as error:  # parsers of damaged files raise errors of any class
        raise ImageError(f"{path.name} cannot be read: {_reason(error)}.", "Copy or export it again.") from error


def _reason(error: Exception) -> str:
    """Return the reason without the addresses, paths and names in messages of the libraries."""
    if isinstance(error, zlib.error | EOFError | gzip.BadGzipFile):
        return "its compressed content is damaged or cut short"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "its content is damaged or of an unusual kind"
