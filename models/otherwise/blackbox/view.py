"""Convert an image to a classifier's view: on its grid, in its window, with warnings.

Explanations, searches, trainings and checks convert images to views ``(channels, *size)`` in [0, 1] by this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image, check_content
from otherwise.images.resampling import model_grid, needs_luminance, resample, windowed, with_channels
from otherwise.warning import AnswerWarning

CLIPPED_SHARE = 0.05
"""A larger share of voxels beyond the window gives a warning."""
SAME_SHARE = 0.99
"""A view with a larger share of equal voxels counts as constant."""
CLIPPED_BY = 0.02
"""A voxel counts as clipped if it lies beyond the window by this share of it, so that -1024 HU counts as -1000."""
MOST_LABELS = 12
"""An image of whole numbers with at most so many different values, close to each other, counts as a label map."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
Window = tuple[float, float]
Centre = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class View:
    """A classifier's view of an image.

    Attributes:
        array: ``(channels, *size)`` float32 in [0, 1].
        grid: Position of these voxels in space.
        window: ``(low, high)`` in the image's own units, mapped to 0 and 1.
        below: Share of the voxels below the window, in [0, 1]; voxels outside the image do not count.
        above: Share of the voxels above the window.
    """

    array: np.ndarray
    grid: Geometry
    window: Window
    below: float = 0.0
    above: float = 0.0

    @property
    def clipped(self) -> float:
        """Return the share of voxels beyond the window."""
        return self.below + self.above


def show(image: Image, inputs: InputSpec, slice_index: int | None = None, centre: Centre | None = None) -> np.ndarray:
    """Return an image's view in the declared size; see :func:`view`.

    Returns:
        ``(channels, *size)`` float32 in [0, 1].

    Raises:
        ImageError: as :func:`view`; also if a classifier of any size has a view of another size.
    """
    return of_declared_size(image, view(image, inputs, slice_index, centre), inputs).array


def show_any(image: Image, inputs: InputSpec, slice_index: int | None = None) -> np.ndarray:
    """Return an image's view in any size that the classifier takes; see :func:`view`."""
    return view(image, inputs, slice_index).array


def view(image: Image, inputs: InputSpec, slice_index: int | None = None, centre: Centre | None = None) -> View:
    """Return a classifier's view of an image.

    Args:
        image: Image in its own units.
        inputs: The classifier's input specification.
        slice_index: Slice along k, for a 2-D classifier and a volume.
        centre: Centre of the field of view of a classifier with a spacing, RAS millimetres; None: the image's centre.

    Raises:
        ImageError: if voxels are not finite or constant, all lie beyond the window, or dimensions (``model_grid``) or
            channels do not fit.
    """
    check_content(image)
    if inputs.pipeline is not None:
        return _prepared(image, inputs, slice_index)
    return view_on(image, grid_of(image.geometry, inputs, slice_index, centre), inputs)


def of_declared_size(image: Image, seen: View, inputs: InputSpec) -> View:
    """Refuse a view of another size than the declared one; agents exist for that size only.

    Returns:
        The same view.

    Raises:
        ImageError: if a classifier of any size has a view of another size.
    """
    shape = seen.array.shape[1:]
    if shape != inputs.size:
        had, wanted = (" x ".join(str(edge) for edge in edges) for edges in (shape, inputs.size))
        raise ImageError(
            f"The classifier takes image {image.id} as {had} voxels, and explanations need {wanted}.",
            "Add a Resized step to the bundle's preprocessing, or give images of that size.",
        )
    return seen


def grid_of(
    geometry: Geometry, inputs: InputSpec, slice_index: int | None = None, centre: Centre | None = None
) -> Geometry:
    """Return a classifier's grid for an image; see ``model_grid``."""
    return model_grid(geometry, inputs.size, inputs.spacing, slice_index, centre, inputs.orientation, inputs.fit)


def grid_seen(image: Image, inputs: InputSpec) -> Geometry:
    """Return the grid of a classifier's view of an image; its own preprocessing decides where it has one.

    Raises:
        ImageError: as :func:`view`.
    """
    return grid_of(image.geometry, inputs) if inputs.pipeline is None else view(image, inputs).grid


def view_on(image: Image, grid: Geometry, inputs: InputSpec, window: Window | None = None) -> View:
    """Return the view of an image on a given grid.

    Args:
        image: Image in its own units.
        grid: From :func:`grid_of` or an earlier view.
        inputs: The classifier's input specification.
        window: Window of an earlier view, for a changed image; None: by ``inputs``.

    Raises:
        ImageError: see :func:`view`.
    """
    check_content(image)
    if inputs.pipeline is not None:
        plane = round(float(image.geometry.to_index(grid.affine[:3, 3])[2]))
        return _prepared(image, inputs, plane if inputs.spatial_dims == 2 else None, window)
    suited = suited_channels(image, inputs)
    own = inputs.own_window and window is None
    low = float(suited.array.min()) if own else (window or inputs.intensity)[0]
    sampled = resample(suited, grid, outside=low, interpolation=inputs.interpolation).array.astype(np.float32)
    if own:  # a patch is normalised by itself, without its surroundings
        source = sampled if inputs.patches is not None else suited.array
        window = (float(source.min()), float(source.max()))
    window = window or inputs.intensity
    return _windowed(image, sampled, grid, window, inputs)


def suited_channels(image: Image, inputs: InputSpec) -> Image:
    """Convert an image to the classifier's channels; colour becomes grey only where the classifier declares how.

    Raises:
        ImageError: if channels would have to be invented or dropped.
    """
    if inputs.channels == 1 and image.array.shape[0] == 3 and inputs.grey != "refuse":
        weights = _LUMA if inputs.grey == "luma" else np.full(3, 1 / 3, np.float32)
        grey = np.tensordot(weights, image.array.astype(np.float32), axes=1)[None]
        return image.with_array(grey)
    return with_channels(image, inputs.channels)


def warnings_of(image: Image, inputs: InputSpec, seen: View) -> tuple[AnswerWarning, ...]:
    """Return reasons to doubt a classifier's answer for an image.

    Args:
        image: The image.
        inputs: The classifier's input specification.
        seen: The view of the image.
    """
    found = []
    low, high = seen.window
    if seen.clipped > CLIPPED_SHARE:
        side = "below" if seen.below > seen.above else "above"
        found.append(
            AnswerWarning(
                "clipped",
                f"{100 * seen.clipped:.1f} % of the pixels lie beyond the classifier's window ({low:g} to {high:g}), "
                f"most of them {side} it. Does the image have the units that the classifier wants?",
            )
        )
    same = float((seen.array == np.median(seen.array)).mean())
    if same > SAME_SHARE and seen.clipped <= CLIPPED_SHARE:
        text = f"{100 * same:.1f} % of what the classifier sees has one and the same value."
        found.append(AnswerWarning("constant", text))
    return (*image_warnings(image, inputs), *found)


def image_warnings(image: Image, inputs: InputSpec) -> tuple[AnswerWarning, ...]:
    """Say what of an image itself makes a classifier's answers doubtful, wherever it looks.

    Args:
        image: The whole image.
        inputs: The classifier's input specification.
    """
    found = list(modality_warning(inputs, image.modality))
    if inputs.spacing is not None and image.unit == "px":
        found.append(
            AnswerWarning("spacing-assumed", "The image does not say how large its pixels are; 1 mm was assumed.")
        )
    if needs_luminance(image, inputs.channels):
        found.append(
            AnswerWarning("luminance", "The image is in colour; the classifier was shown its luminance (ITU-R BT.601).")
        )
    if _looks_like_labels(image):
        count = len(np.unique(image.array))
        found.append(
            AnswerWarning(
                "label-map", f"The image has only {count} different values, as a label map has, not an image."
            )
        )
    return tuple(found)


def modality_warning(inputs: InputSpec, modality: str) -> tuple[AnswerWarning, ...]:
    """Return a warning where an image's DICOM modality is not the classifier's.

    Args:
        inputs: The classifier's input specification; modality ``OT`` stands for any.
        modality: The image's modality; empty if unknown.
    """
    wanted, alike = inputs.modality.upper(), {"CR", "DX", "DR", "RG"}
    if not modality or wanted in ("OT", "", modality.upper()) or {wanted, modality.upper()} <= alike:
        return ()
    text = f"The image is of modality {modality.upper()}, and the classifier is made for {wanted}."
    return (AnswerWarning("modality", text),)


def _looks_like_labels(image: Image) -> bool:
    array = image.array
    if not np.issubdtype(array.dtype, np.integer) or array.shape[0] != 1 or array.size < 4096:
        return False
    sample = array.reshape(-1)[:: max(1, array.size // 65536)]
    if len(np.unique(sample)) > MOST_LABELS:
        return False
    values = np.unique(array)
    return len(values) <= MOST_LABELS and bool(values[0] >= 0) and bool(values[-1] < 4 * MOST_LABELS)


def _prepared(image: Image, inputs: InputSpec, slice_index: int | None, window: Window | None = None) -> View:
    assert inputs.pipeline is not None
    if inputs.spatial_dims == 2 and image.geometry.shape[2] > 1:
        if slice_index is None:
            model_grid(image.geometry, inputs.size, None)  # says what to do
        else:
            image = image.slice(slice_index)
    prepared = inputs.pipeline.prepare(image)
    return _windowed(image, prepared.array, prepared.geometry, window or prepared.window, inputs)


def _windowed(image: Image, sampled: np.ndarray, grid: Geometry, window: Window, inputs: InputSpec) -> View:
    low, high = window
    array = windowed(sampled, window) if high > low else np.zeros_like(sampled)
    if array.min() == array.max():
        raise ImageError(
            f"Image {image.id} is constant where the classifier looks, between {low:g} and {high:g}.",
            "Check that it has the units which the classifier wants, and something in its centre.",
        )
    slack = CLIPPED_BY * (high - low)
    below, above = float((sampled < low - slack).mean()), float((sampled > high + slack).mean())
    flat = inputs.spatial_dims == 2
    return View(array[..., 0] if flat else array, grid, window, below, above)
