"""Between an image's own grid and the grid that a classifier wants.

A model grid has the image's own directions, so both ways are one small matrix per axis (:func:`_axis_weights`): linear
interpolation, after a Gaussian where the new voxels are larger (Cardoso et al., Scale factor point spread function
matching, MICCAI 2015). Grids of other directions go through scipy.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image, check_content

_EDGE = 1e-6  # voxels; a centre this little outside the field is on its edge
_SNAP = 1e-7  # voxels; rounding, not distance
_DAMPING = 0.2  # what keeps less than this share of itself on the way is not worth strengthening
_FULL_WIDTH = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian at half its height, in standard deviations


def model_grid(
    geometry: Geometry,
    size: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    slice_index: int | None = None,
    centre: tuple[float, float, float] | None = None,
) -> Geometry:
    """Lay the grid of a classifier over an image.

    Args:
        geometry: The image's own grid.
        size: Voxels along i, j and, for a 3-D classifier, k.
        spacing: Millimetres per axis: a field of ``size * spacing`` about the image's centre. None: the whole field of
            view, outer voxel edges on outer voxel edges.
        slice_index: For a 2-D classifier and a volume: which slice along k. The grid is then that slice's own plane.
        centre: Where the field's centre lies instead, RAS millimetres (for a 2-D classifier: its foot in the plane).

    Returns:
        Grid of shape ``size`` (k = 1 for a 2-D classifier) with the image's directions; ``geometry`` itself, to the
        last bit, where both are the same.

    Raises:
        ImageError: if the classifier is 2-D, the image a volume and no slice is given or it does not exist; or the
            classifier is 3-D and the image has one slice; or a centre is given and no spacing.
    """
    if centre is not None and spacing is None:
        raise ImageError("The classifier looks at all of an image and not at a place.", "Leave the place out.")
    if len(size) == 2:
        plane = _slice_plane(geometry, slice_index)
    elif geometry.shape[2] == 1:
        raise ImageError("The classifier is 3-D and the image has a single slice.", "Give a volume.")
    elif slice_index is not None:
        raise ImageError(f"The classifier is 3-D and takes no slice ({slice_index}).", "Leave the slice out.")
    else:
        plane = geometry
    i, j, k = (*size, 1)[:3]
    shape = (i, j, k)
    if spacing is None:
        ratios = np.array(plane.shape) / np.array(shape)
    else:
        ratios = np.array([*spacing, 1.0][:3] if len(size) == 3 else [*spacing, plane.spacing[2]]) / plane.spacing
    # Index in the plane = ratios * index in the grid + shift: the centres of both fields coincide.
    middle = (np.array(plane.shape) - 1) / 2
    if centre is not None:
        foot = plane.to_index(np.array(centre))
        middle = np.array([*foot[:2], middle[2]]) if len(size) == 2 else foot
    shift = middle - ratios * (np.array(shape) - 1) / 2
    if np.abs(shift).max() < _SNAP and shape == plane.shape and np.abs(ratios - 1).max() * max(shape) < _SNAP:
        return plane
    affine = plane.affine.copy()
    affine[:3, :3] = plane.affine[:3, :3] * ratios
    affine[:3, 3] = plane.to_ras(shift)
    return Geometry(shape, affine)


def resample(image: Image, onto: Geometry, order: int = 1, outside: float = 0.0) -> Image:
    """Sample an image on another grid.

    Args:
        image: Source.
        onto: Target grid, of any direction.
        order: 1: linear, with a Gaussian first along axes where the new voxels are larger. 0: nearest (label maps).
        outside: Value outside the source's field, which reaches half a voxel beyond its outermost centres.

    Returns:
        ``image`` itself where both grids are the same; else float32 for order 1 and the source's type for order 0.
    """
    if image.geometry.same_as(onto):
        return image
    if order not in (0, 1):
        raise ValueError(f"order {order} is neither 0 nor 1")
    to_source = np.linalg.inv(image.geometry.affine) @ onto.affine
    matrix, shift = to_source[:3, :3], to_source[:3, 3]
    reach = np.abs(matrix) * np.array(onto.shape)
    aligned = (reach - np.diag(np.diag(reach))).max() < _EDGE
    sample = _sample_aligned if aligned else _sample_oblique
    array = sample(image.array, onto.shape, matrix, shift, order, outside)
    return Image(array, onto, image.id, 2 if image.dimension == 2 and onto.shape[2] == 1 else 3)


def to_model(
    image: Image,
    size: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    intensity: tuple[float, float],
    slice_index: int | None = None,
    channels: int | None = None,
    centre: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Show an image as a classifier wants it.

    Args:
        image: Image in its own units.
        size: See :func:`model_grid`.
        spacing: See :func:`model_grid`.
        intensity: ``(low, high)`` in the image's own units become 0 and 1; clipped. Outside the image is ``low``.
        slice_index: See :func:`model_grid`.
        channels: Number the classifier wants; None: as many as the image has. Grey becomes colour by repetition, and
            colour becomes grey only where its channels are equal.
        centre: See :func:`model_grid`.

    Returns:
        ``(channels, *size)`` float32 in [0, 1].

    Raises:
        ImageError: if voxels are not finite or constant, the window sees nothing, dimensions (:func:`model_grid`) or
            channels do not suit.
    """
    grid = model_grid(image.geometry, size, spacing, slice_index, centre)
    return shown_on(image, grid, len(size), intensity, channels)


def shown_on(
    image: Image, grid: Geometry, spatial_dims: int, intensity: tuple[float, float], channels: int | None = None
) -> np.ndarray:
    """Show an image as a classifier wants it, on a grid that :func:`model_grid` gave; see :func:`to_model`."""
    check_content(image)
    low, high = intensity
    suited = with_channels(image, channels)
    array = resample(suited, grid, order=1, outside=low).array.astype(np.float32)
    array = windowed(array, intensity)
    if array.min() == array.max():
        raise ImageError(
            f"Image {image.id} is constant where the classifier looks, between {low:g} and {high:g}.",
            "Check that it has the units which the classifier wants, and something in its centre.",
        )
    return array[..., 0] if spatial_dims == 2 else array


def windowed(array: np.ndarray, intensity: tuple[float, float]) -> np.ndarray:
    """Map float32 values linearly, so that ``(low, high)`` become 0 and 1, and clip them."""
    low, high = intensity
    return np.clip((array - np.float32(low)) / np.float32(high - low), 0, 1, dtype=np.float32)


def change_to_native(change: np.ndarray, grid: Geometry, image: Image, intensity: tuple[float, float]) -> np.ndarray:
    """Carry a change from the classifier's grid to the image's own.

    Only the change is resampled, never the image, so that all fine detail stays the image's own.

    Args:
        change: ``(channels, *size)`` difference of two images in [0, 1].
        grid: What :func:`model_grid` gave for ``image``.
        image: The image that the change belongs to.
        intensity: The window of :func:`to_model`.

    Returns:
        ``(channels, i, j, k)`` float32 in the image's units and with its channels; zero outside the grid's field. To a
        grey image goes the mean over the channels, to a coloured one a grey change channel by channel.

    Raises:
        ImageError: if the change does not fit the grid.
    """
    array = change[..., None] if change.ndim == 3 and grid.shape[2] == 1 else change
    if array.ndim != 4 or array.shape[1:] != grid.shape:
        raise ImageError(f"A change of shape {change.shape} does not fit a grid of {grid.shape}.", "Give its own grid.")
    wanted = image.array.shape[0]
    if array.shape[0] != wanted and 1 not in (array.shape[0], wanted):
        raise ImageError(f"A change of {array.shape[0]} channels does not fit {wanted}.", "Give as many or one.")
    if wanted == 1:
        array = array.mean(axis=0, keepdims=True)
    low, high = intensity
    scaled = (array * (high - low)).astype(np.float32)
    native = resample(Image(scaled, grid, image.id), image.geometry, order=1, outside=0.0).array
    return np.repeat(native, wanted, axis=0) if native.shape[0] == 1 < wanted else native


def precompensation(grid: Geometry, geometry: Geometry) -> tuple[np.ndarray, ...]:
    """What strengthens the fine parts of changes that go to a finer image, so that they are seen from there as meant.

    Interpolation to the finer grid and the blur on the way back weaken what is fine. Along each axis both ways together
    are a small matrix A; to the change comes the regularised solution x (Tikhonov) of A x = what is missing of it.

    Args:
        grid: What :func:`model_grid` gave for the image; has its directions.
        geometry: The image's own grid.

    Returns:
        For :func:`precompensated`: a matrix for each axis; none where both grids are the same.
    """
    if geometry.same_as(grid):
        return ()
    to_image = np.linalg.inv(grid.affine) @ geometry.affine
    matrices = []
    for axis in range(3):
        way = _there_and_back(grid.shape[axis], geometry.shape[axis], to_image[axis, axis], to_image[axis, 3])
        same = np.eye(len(way))
        missing = np.linalg.solve(way.T @ way + _DAMPING**2 * same, way.T @ (same - way))
        matrices.append(same + missing)
    return tuple(matrices)


def precompensated(change: np.ndarray, matrices: tuple[np.ndarray, ...]) -> np.ndarray:
    """Strengthen a change ``(channels, *size)`` on the classifier's grid by what :func:`precompensation` gave."""
    result = change
    for axis, matrix in enumerate(matrices[: change.ndim - 1], start=1):
        result = _weigh(result, axis, matrix)
    return result


def _there_and_back(count: int, other: int, step: float, start: float) -> np.ndarray:
    """What becomes of each of ``count`` voxels along an axis, sampled on ``other`` ones and back again.

    Args:
        count: Voxels of the first grid.
        other: Voxels of the second.
        step: Distance of the second's voxels in voxels of the first.
        start: Where the second's first voxel is in the first.

    Returns:
        ``(count, count)``: column n is what is seen of voxel n.
    """
    affine = np.eye(4)
    affine[0, 0], affine[0, 3] = step, start
    voxels = Image(np.eye(count, dtype=np.float32)[:, :, None, None], Geometry((count, 1, 1), np.eye(4)), "voxels")
    there = resample(voxels, Geometry((other, 1, 1), affine))
    return np.asarray(resample(there, voxels.geometry).array[:, :, 0, 0].T, np.float64)


def _slice_plane(geometry: Geometry, slice_index: int | None) -> Geometry:
    """The grid of one slice along k."""
    slices = geometry.shape[2]
    if slice_index is None:
        if slices == 1:
            return geometry
        raise ImageError(
            f"The classifier is 2-D and the image is a volume of {slices} slices.",
            f"Choose the slice that it should look at, from 0 to {slices - 1} (for example --slice {slices // 2}), "
            "or see through them (--project max).",
        )
    return geometry.slice(slice_index)


def with_channels(image: Image, channels: int | None) -> Image:
    """Give an image the channels that a classifier wants, where that is a matter of form.

    Grey becomes as many equal channels as are wanted; equal channels become grey. None: as it is.

    Raises:
        ImageError: if channels would have to be made up or thrown away.
    """
    own = image.array.shape[0]
    if channels in (None, own):
        return image
    if own == 1:
        return image.with_array(np.repeat(image.array, channels, axis=0))
    if channels == 1 and (image.array == image.array[:1]).all():
        return image.with_array(image.array[:1])
    raise ImageError(
        f"Image {image.id} has {own} channels and the classifier wants {channels}.",
        "Convert it first, for example to grey." if channels == 1 else "Give an image of that kind.",
    )


def _sample_aligned(
    array: np.ndarray, shape: tuple[int, ...], matrix: np.ndarray, shift: np.ndarray, order: int, outside: float
) -> np.ndarray:
    """Sample axis by axis: each axis is a matrix of weights, or an index where no arithmetic is asked."""
    result = array
    inside: list[slice] = [slice(None)] * 4
    for axis in sorted(range(3), key=lambda axis: shape[axis] / array.shape[axis + 1]):  # shrink first, grow last
        count, ratio = array.shape[axis + 1], abs(matrix[axis, axis])
        places = matrix[axis, axis] * np.arange(shape[axis]) + shift[axis]
        whole = np.rint(places)
        places = np.where(np.abs(places - whole) < _SNAP, whole, places)
        within = np.flatnonzero((places >= -0.5 - _EDGE) & (places <= count - 0.5 + _EDGE))
        inside[axis + 1] = slice(within[0], within[-1] + 1) if len(within) else slice(0, 0)
        if order == 0 or (ratio <= 1 + _SNAP and (places == whole).all()):
            nearest = np.clip(np.floor(places + 0.5), 0, count - 1).astype(int)
            result = np.take(result, nearest, axis=axis + 1)
        else:
            result = _weigh(result, axis + 1, _axis_weights(places, count, ratio))
    at = tuple(inside)
    if result[at].shape == result.shape:
        return result if order == 0 else result.astype(np.float32, copy=False)
    filled = np.full(result.shape, outside, result.dtype if order == 0 else np.float32)
    filled[at] = result[at]
    return filled


def _weigh(array: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    """Apply ``(new, old)`` weights along one axis; only the old voxels that count are touched."""
    used = np.flatnonzero(weights.any(axis=0))
    window = slice(used[0], used[-1] + 1)
    cut = np.asarray(array[(slice(None),) * axis + (window,)], np.float32)
    matrix = weights[:, window].astype(np.float32)
    if axis == array.ndim - 1:
        return cut @ matrix.T
    rest = cut.shape[axis + 1 :]
    return (matrix @ cut.reshape(*cut.shape[: axis + 1], -1)).reshape(*cut.shape[:axis], len(matrix), *rest)


def _axis_weights(places: np.ndarray, count: int, ratio: float) -> np.ndarray:
    """Weights ``(len(places), count)`` for values at fractional indices; every row sums to one.

    Args:
        places: Fractional indices; those outside 0 .. count - 1 take the nearest voxel.
        count: Number of old voxels.
        ratio: New spacing over old. Above 1, old voxels are blurred until their width at half maximum is the new one.
    """
    places = np.clip(places, 0, count - 1)
    left = np.minimum(np.floor(places).astype(int), max(count - 2, 0))
    right = np.minimum(left + 1, count - 1)
    fraction = (places - left)[:, None]
    return (1 - fraction) * _kernel(left, count, ratio) + fraction * _kernel(right, count, ratio)


def _kernel(centres: np.ndarray, count: int, ratio: float) -> np.ndarray:
    distance = np.arange(count) - centres[:, None]
    if ratio <= 1 + _SNAP:
        return (distance == 0).astype(np.float64)
    weights = np.exp(-0.5 * (distance / _blur(ratio)) ** 2)
    weights[weights < 1e-4] = 0
    return weights / weights.sum(axis=1, keepdims=True)


def _blur(ratio: float) -> float:
    """Standard deviation, in old voxels, that widens old voxels to ``ratio`` of theirs (Cardoso et al. 2015)."""
    return float(np.sqrt(ratio**2 - 1) / _FULL_WIDTH)


def _sample_oblique(
    array: np.ndarray, shape: tuple[int, ...], matrix: np.ndarray, shift: np.ndarray, order: int, outside: float
) -> np.ndarray:
    """Sample between grids of different directions."""
    index = np.indices(shape, dtype=np.float64).reshape(3, -1)
    places = (matrix @ index + shift[:, None]).reshape(3, *shape)
    limits = np.array(array.shape[1:]).reshape(3, 1, 1, 1) - 0.5 + _EDGE
    inside = ((places >= -0.5 - _EDGE) & (places <= limits)).all(axis=0)
    ratios = np.linalg.norm(matrix, axis=1)
    blur = [_blur(ratio) if order and ratio > 1 + _SNAP else 0.0 for ratio in ratios]
    result = np.empty((array.shape[0], *shape), np.float32 if order else array.dtype)
    for channel in range(array.shape[0]):
        source = array[channel].astype(np.float32) if order else array[channel]
        if any(blur):
            source = ndimage.gaussian_filter(source, blur, mode="nearest")
        sampled = ndimage.map_coordinates(source, places, order=order, mode="nearest")
        result[channel] = np.where(inside, sampled, outside)
    return result
