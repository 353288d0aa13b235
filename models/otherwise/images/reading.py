"""Read an image of any usual format, or say in one line why not."""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images.formats.dicom import read_dicom_file, read_dicom_folder, read_dicom_series
from otherwise.images.formats.limits import MAX_BYTES
from otherwise.images.formats.metaimage import read_metaimage
from otherwise.images.formats.nifti import read_nifti
from otherwise.images.formats.nrrd import read_nrrd
from otherwise.images.formats.picture import read_picture
from otherwise.images.image import Image
from otherwise.images.studies import find_image

_EXTENSIONS = re.compile(r"(\.nii)?\.(gz|nii|nrrd|nhdr|mha|mhd|png|jpe?g|jfif|tiff?|dcm|dicom|ima)$", re.IGNORECASE)
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: Path, *, id: str | None = None, part: str | None = None, max_bytes: int = MAX_BYTES) -> Image:
    """Read a volume or a plane with its geometry.

    Formats are told by content, not by name: DICOM (one file, or a folder with one series), NIfTI, NRRD, MetaImage,
    PNG, JPEG and TIFF. DICOM grey values are in the units of the modality (rescale or modality look-up table applied),
    and MONOCHROME1 is inverted within its stored range (PS3.3 C.7.6.3.1.2), so that bright is dense in every image.

    Args:
        path: File, or folder of one DICOM series.
        part: For a folder of several DICOM images: the id of the one that is meant, see ``images.studies``.
        id: Name of the image; by default that of the file or folder, and never anything that DICOM says of a patient.
        max_bytes: Largest image that a header may declare.

    Returns:
        Image of integers or float32, ``(channels, i, j, k)``. ``dimension`` is 2 where there is one slice.

    Raises:
        ImageError: if there is no image, or it is damaged, too large, not one volume, or has no possible geometry.
            Voxels that are NaN or constant are not looked for here, see
            :func:`otherwise.images.image.check_content`.
    """
    path = Path(path)
    name = id or image_name(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydicom and Pillow, about damage that ends in an error here
            if part is not None:
                return read_dicom_series(find_image(path, part), name, max_bytes)
            return _reader(path)(path, name, max_bytes)
    except FileNotFoundError:
        raise ImageError(f"There is no file or folder {path.name}.", "Check the path.") from None
    except ImageError as error:
        detail = error.detail[:1].lower() + error.detail[1:]
        raise ImageError(f"{path.name} cannot be used: {detail}", error.hint) from None
    except MemoryError:
        raise ImageError(f"{path.name} does not fit into memory.", "Crop it, or use a larger machine.") from None
    except Exception as error:  # parsers of damaged files raise anything
        raise ImageError(f"{path.name} cannot be read: {_reason(error)}.", "Copy or export it again.") from error


def image_name(path: Path) -> str:
    """Name of a file or folder without the extensions of image formats."""
    return _EXTENSIONS.sub("", Path(path).resolve().name) or "image"


def _reader(path: Path) -> Callable[[Path, str, int], Image]:
    """Choose by content."""
    if path.is_dir():
        return read_dicom_folder
    with path.open("rb") as file:
        head = file.read(1024)
    if head[128:132] == b"DICM":  # first, since its preamble may dress up as a TIFF
        return read_dicom_file
    if head.startswith(_PICTURES):
        return read_picture
    if head.startswith(b"NRRD00"):
        return read_nrrd
    if head.startswith(b"\x1f\x8b") or head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return read_nifti
    if b"NDims" in head and b"=" in head:
        return read_metaimage
    if not head:
        raise ImageError("It is empty.", "Copy or export it again.")
    raise ImageError(
        "It is in no format that we know, or damaged.", "Give DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF."
    )


def _reason(error: Exception) -> str:
    """Why, in our words: those of the libraries carry addresses, paths and their own names."""
    if isinstance(error, zlib.error | EOFError | gzip.BadGzipFile):
        return "its compressed content is damaged or cut short"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "its content is damaged or of an unusual kind"
