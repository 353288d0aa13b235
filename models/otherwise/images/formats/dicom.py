"""Read DICOM images: group files to images and locate their slices. ``dicom_pixels`` reads the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from otherwise.errors import ImageError
from otherwise.images.formats.dicom_decoding import Decoder
from otherwise.images.formats.dicom_file import begins_dicom, open_dicom
from otherwise.images.formats.dicom_pixels import functional_group, read_pixels
from otherwise.images.formats.dicom_planes import Plane, plane_affine, stack_planes
from otherwise.images.formats.limits import MAX_SLICES, check_geometry, check_size, check_slices, plain
from otherwise.images.image import Image, Unit

_COLORS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"}
_GREYS = {"MONOCHROME1", "MONOCHROME2"}
RADIOGRAPH_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_PLACE = (
    *RADIOGRAPH_SPACINGS,
    "SequenceOfUltrasoundRegions",
    *("SpacingBetweenSlices", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"),
)
_UNREAD_SYNTAXES = {
    "1.2.840.113619.5.2": "GE private, implicit little endian with big endian pixels",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
_READ_SYNTAXES = {
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81, 90, 91)),
    "1.2.840.10008.1.2.5",
}
"""Transfer syntaxes of GDCM: uncompressed, JPEG, JPEG-LS, JPEG 2000 and RLE (PS3.5 A)."""
_CENTIMETRES = 3
_NO_IMAGES = {"SEG", "RTDOSE", "RTSTRUCT", "PR", "KO", "SR", "REG"}


@dataclass(frozen=True, eq=False)
class Slice:
    """Source of one slice of an image.

    Attributes:
        path: Its file.
        header: Its header without pixels; frames of one file share it.
        frame: Number of the frame in the file, from 0.
        plane: Position in space.
    """

    path: Path
    header: Dataset
    frame: int
    plane: Plane


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices that are one image.

    Attributes:
        slices: The slices along k.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
    """

    slices: tuple[Slice, ...]
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the number of voxels along i, j, k."""
        return (*self.slices[0].plane.size, len(self.slices))

    @property
    def modality(self) -> str:
        """Return the DICOM modality; empty if the file has none."""
        return str(self.slices[0].header.get("Modality", "") or "")


def read_dicom_file(path: Path, id: str, max_bytes: int) -> Image:
    """Read one DICOM file: a plane, or a multi-frame volume whose frames have positions.

    Raises:
        ImageError: if it is no image, is damaged or too large, or its frames are no volume.
        Exception: any error of pydicom or GDCM for a damaged file.
    """
    stack = locate_file(path, max_bytes)
    with Decoder() as decoder:
        pixels = read_pixels(path, max_bytes, decoder)
    voxels = pixels[..., [one.frame for one in stack.slices]] if len(stack.slices) > 1 else pixels
    return _image(voxels, stack, id)


def read_dicom_folder(folder: Path, id: str, max_bytes: int) -> Image:
    """Read the one series whose slices lie directly in a folder; other files are ignored.

    Raises:
        ImageError: if there is no series or more than one, or its slices are no volume.
        Exception: any error of pydicom or GDCM for a damaged file.
    """
    return read_dicom_series(sorted(islice(folder.iterdir(), MAX_SLICES + 1)), id, max_bytes)


def read_dicom_series(files: Sequence[Path], id: str, max_bytes: int) -> Image:
    """Read a series from files; files without a DICOM image are ignored.

    Raises:
        ImageError: see ``read_dicom_folder``.
        Exception: any error of pydicom or GDCM for a damaged file.
    """
    stack = locate_series(files, max_bytes)
    paths = [one.path for one in stack.slices]
    if len(set(paths)) == 1:
        return read_dicom_file(paths[0], id, max_bytes)
    with Decoder() as decoder:
        slices = [read_pixels(path, max_bytes, decoder) for path in paths]
    if len({one.shape[0] for one in slices}) > 1:
        raise ImageError("Its slices are partly grey and partly in colour.", "Keep only the slices of one volume.")
    # Each slice is rescaled by its own slope (PET), so that types may differ.
    return _image(np.concatenate(slices, axis=3), stack, id)


def locate_file(path: Path, max_bytes: int) -> Stack:
    """Return the slices of one DICOM file with their positions.

    Raises:
        ImageError: see ``read_dicom_file``.
    """
    header = read_header(path)
    _check_image(header)
    frames = _number_of_frames(header)
    check_slices(frames, "frames")
    size = (int(header.Columns), int(header.Rows))
    check_size((*size, frames, _channels(header)), _itemsize(header), max_bytes)
    planes = [_frame_plane(header, frame, size) for frame in range(frames)]
    if frames == 1:
        return Stack((Slice(path, header, 0, planes[0]),), plane_affine(planes[0]))
    if planes[0].position is None:
        raise ImageError(
            f"It has {frames} frames without positions in space (a film).", "Export the one frame you mean."
        )
    order, affine = stack_planes(planes)
    return Stack(tuple(Slice(path, header, frame, planes[frame]) for frame in order), affine)


def locate_series(files: Sequence[Path], max_bytes: int) -> Stack:
    """Return the slices of one series of files with their positions; files without a DICOM image are ignored.

    Raises:
        ImageError: see ``read_dicom_folder``.
    """
    check_slices(max(1, len(files)), "files")
    headers = {path: read_header(path) for path in files if is_dicom(path)}
    headers = {path: header for path, header in headers.items() if is_image(header)}
    if not headers:
        raise ImageError(
            "The folder holds no DICOM images.", "Give a folder that directly holds one series, or one file."
        )
    series: dict[str, list[Path]] = {}
    for path, header in headers.items():
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(path)
    if len(series) > 1:
        counts = ", ".join(str(len(paths)) for paths in series.values())
        raise ImageError(
            f"The folder holds {len(series)} series (of {counts} files).",
            "Choose one: otherwise studies FOLDER lists them.",
        )
    paths = list(headers)
    if len(paths) == 1:
        return locate_file(paths[0], max_bytes)

    for header in headers.values():
        _check_image(header)
        if _number_of_frames(header) > 1:
            raise ImageError(f"The folder holds {len(paths)} files of several frames.", "Give one of the files.")
    first = headers[paths[0]]
    size = (int(first.Columns), int(first.Rows))
    check_size((*size, len(paths), _channels(first)), _itemsize(first), max_bytes)
    planes = [_plane(header, (int(header.Columns), int(header.Rows))) for header in headers.values()]
    order, affine = stack_planes(planes)
    return Stack(tuple(Slice(paths[at], headers[paths[at]], 0, planes[at]) for at in order), affine)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its content."""
    if not path.is_file() or path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return begins_dicom(file.read(132))


def read_header(path: Path) -> Dataset:
    """Read the header without pixels; errors of pydicom for a damaged file pass."""
    return open_dicom(path)


def is_image(header: Dataset) -> bool:
    """Return whether an object has pixels of its own."""
    return "Rows" in header and "Columns" in header and str(header.get("Modality", "")) not in _NO_IMAGES


def _check_image(header: Dataset) -> None:
    """Refuse objects without an image, pixels that cannot be decoded, and several slices side by side."""
    if not is_image(header):
        kind = str(header.get("Modality", "")) or "other"
        raise ImageError(f"It is a DICOM object of kind {kind}, not an image.", "Give the image that it belongs to.")
    photometric = str(header.get("PhotometricInterpretation", ""))
    if not photometric:
        raise ImageError("Its photometric interpretation is missing.", "Export it again.")
    if photometric not in _GREYS | _COLORS:
        raise ImageError(f"Its photometric interpretation {photometric} is unknown.", "Convert it to grey.")
    samples = int(header.get("SamplesPerPixel", 1) or 1)
    if samples != (3 if photometric in _COLORS - {"PALETTE COLOR"} else 1):
        raise ImageError(f"It has {samples} samples a pixel, which are not {photometric}.", "Export it again.")
    if photometric == "PALETTE COLOR":
        _check_palette(header)
    stored, highest = int(header.get("BitsStored", 0) or 0), header.get("HighBit")
    if stored and highest not in (None, "") and int(highest) != stored - 1:
        raise ImageError(
            f"Its {stored} stored bits end at bit {highest}, not at the lowest ones (High Bit).",
            "Convert it, so that High Bit is Bits Stored less one.",
        )
    if any(str(word).upper() == "MOSAIC" for word in header.get("ImageType") or ()):
        raise ImageError(
            "It is a Siemens mosaic: slices of a volume lie side by side in one plane.", "Convert it with dcm2niix."
        )
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is not None and str(syntax) not in _READ_SYNTAXES:
        name = _UNREAD_SYNTAXES.get(str(syntax)) or (syntax.name if syntax.name != str(syntax) else "unknown")
        raise ImageError(
            f"Its transfer syntax ({name}, {syntax}) cannot be decoded.", "Convert it to explicit VR little endian."
        )


def _check_palette(header: Dataset) -> None:
    """Refuse palettes that GDCM does not decode: incomplete ones, and ones that do not begin at value 0."""
    for color in ("Red", "Green", "Blue"):
        descriptor = header.get(f"{color}PaletteColorLookupTableDescriptor")
        parts = (f"{color}PaletteColorLookupTableData", f"Segmented{color}PaletteColorLookupTableData")
        if descriptor is None or len(descriptor) != 3 or not any(part in header for part in parts):
            raise ImageError(f"Its palette is incomplete ({color.lower()}).", "Convert it to RGB.")
        if int(descriptor[1]) != 0:
            raise ImageError(f"Its palette begins at value {descriptor[1]}, not at 0.", "Convert it to RGB.")


def _number_of_frames(header: Dataset) -> int:
    return int(header.get("NumberOfFrames", 1) or 1)


def _channels(header: Dataset) -> int:
    return 1 if str(header.PhotometricInterpretation) in _GREYS else 3


def _itemsize(header: Dataset) -> int:
    return max(1, int(header.get("BitsAllocated", 16)) // 8)


def _image(voxels: np.ndarray, stack: Stack, id: str) -> Image:
    shape = stack.shape
    if voxels.shape[1:] != shape:
        raise ImageError(f"Its pixels ({voxels.shape[1:]}) do not fit its header ({shape}).", "Export it again.")
    geometry = check_geometry(shape, stack.affine)
    unit: Unit = "mm" if stack.slices[0].plane.measured else "px"
    return Image(plain(voxels), geometry, id, 2 if shape[2] == 1 else 3, stack.modality, unit)


def _plane(header: Dataset, size: tuple[int, int]) -> Plane:
    position = _numbers(header, "ImagePositionPatient", 3)
    orientation = _numbers(header, "ImageOrientationPatient", 6)
    placed = position is not None and orientation is not None
    right, down = _directions(orientation if placed else None)
    spacing = _slice_spacing(header) if placed else _radiograph_spacing(header)
    thickness = _numbers(header, "SpacingBetweenSlices", 1), _numbers(header, "SliceThickness", 1)
    return Plane(
        position=position if placed else None,
        right=right,
        down=down,
        spacing=spacing or (1.0, 1.0),
        measured=spacing is not None,
        thickness=next((float(abs(value[0])) for value in thickness if value is not None and value[0] != 0), 1.0),
        size=size,
    )


def _frame_plane(header: Dataset, frame: int, size: tuple[int, int]) -> Plane:
    """Return the plane of a frame, from its functional groups (enhanced, PS3.3 C.7.6.16) or the header."""
    place = Dataset()
    for name in _PLACE:
        if name in header:
            place[name] = header[name]
    for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
        place.update(functional_group(header, frame, name))
    return _plane(place, size)


def _directions(orientation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if orientation is None:
        return np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    right, down = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(right @ down)) > 1e-3:
        raise ImageError("Its image orientation is no pair of unit vectors at right angles.", "Correct its header.")
    return right, down


def _slice_spacing(header: Dataset) -> tuple[float, float]:
    spacing = _numbers(header, "PixelSpacing", 2)
    if spacing is None or min(spacing) <= 0:
        raise ImageError("Its pixel spacing is missing or zero.", "Correct its header and try again.")
    return float(spacing[1]), float(spacing[0])


def _radiograph_spacing(header: Dataset) -> tuple[float, float] | None:
    """Return the spacing in the patient if calibrated, else at the detector or scanner (PS3.3 10.7); None if unknown.

    Some old film scanners write zeros for an unknown spacing.
    """
    for name in RADIOGRAPH_SPACINGS:
        spacing = _numbers(header, name, 2)
        if spacing is not None and min(spacing) > 0:
            return float(spacing[1]), float(spacing[0])
    return _region_spacing(header)


def _region_spacing(header: Dataset) -> tuple[float, float] | None:
    """Return the spacing of ultrasound regions in millimetres (PS3.3 C.8.5.5); None if unknown or several."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = {int(region.get(f"PhysicalUnits{axis}Direction", 0) or 0) for axis in "XY"}
        deltas = [abs(float(region.get(f"PhysicalDelta{axis}", 0) or 0)) for axis in "XY"]
        if units == {_CENTIMETRES} and min(deltas) > 0:
            found.add((10 * deltas[0], 10 * deltas[1]))
    return found.pop() if len(found) == 1 else None


def _numbers(header: Dataset, name: str, count: int) -> np.ndarray | None:
    """Return the finite numbers of an attribute, or None where it is absent or empty."""
    value = header.get(name)
    if value is None or value == "":
        return None
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ImageError(f"Its {name} is not {count} numbers.", "Correct its header and try again.")
    return numbers
