"""Resample between an image's grid and a classifier's grid.

A model grid has the image's own directions, turned or flipped, so both ways are one small matrix per axis
(:mod:`otherwise.images.kernels`). Grids of other directions go through scipy.
"""

from __future__ import annotations

import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt2axcodes, ornt_transform
from scipy import ndimage, sparse

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.kernels import KERNELS, SNAP, blur

_EDGE = 1e-6  # voxels; a centre outside the field by less is on its edge
_SPARSE = 0.1  # share of weights that are not zero, below which a sparse product is faster
_DAMPING = 0.2  # components that keep a smaller share on the way are not strengthened
FITS = ("stretch", "pad", "crop", "native")
"""Ways to fit a field of view to a size, see :func:`model_grid`."""


def model_grid(
    geometry: Geometry,
    size: tuple[int, ...],
    spacing: tuple[float, ...] | None,
    slice_index: int | None = None,
    centre: tuple[float, float, float] | None = None,
    orientation: str | None = None,
    fit: str = "stretch",
) -> Geometry:
    """Return the grid of a classifier over an image.

    Args:
        geometry: The image's own grid.
        size: Voxels along i, j and, for a 3-D classifier, k.
        spacing: Millimetres per axis: a field of ``size * spacing`` about the image's centre. None: the whole field of
            view, outer voxel edges on outer voxel edges.
        slice_index: Slice along k, for a 2-D classifier and a volume. The grid is that slice's plane.
        centre: Centre of the field, RAS millimetres (for a 2-D classifier: its foot in the plane); None: the image's.
        orientation: Anatomical directions of the grid's axes, one letter each (``LPS``, ``RAS``; for a 2-D classifier
            two, such as ``LP``). None: those of the image.
        fit: Without a spacing: ``stretch`` the whole field of view; ``pad``: keep its proportions and add a border;
            ``crop``: keep its proportions and cut off what is too long; ``crop:N``: the same after the shorter edge
            was brought to N voxels; ``native``: keep the voxels, and cut or add a border about the middle.

    Returns:
        Grid of shape ``size`` (k = 1 for a 2-D classifier) with the image's directions, turned and flipped as
        ``orientation`` says; ``geometry`` itself, to the last bit, where both are the same.

    Raises:
        ImageError: if the classifier is 2-D, the image a volume and no slice is given or it does not exist; or the
            classifier is 3-D and the image has one slice; or a centre is given and no spacing; or the slices of the
            image lie in another plane than the classifier's.
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
    if orientation is not None:
        plane = turned(plane, orientation)
    i, j, k = (*size, 1)[:3]
    shape = (i, j, k)
    if spacing is None and fit != "stretch":
        return _fitted(plane, shape, len(size), fit)
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
    if np.abs(shift).max() < SNAP and shape == plane.shape and np.abs(ratios - 1).max() * max(shape) < SNAP:
        return plane
    affine = plane.affine.copy()
    affine[:3, :3] = plane.affine[:3, :3] * ratios
    affine[:3, 3] = plane.to_ras(shift)
    return Geometry(shape, affine)


def turned(geometry: Geometry, orientation: str) -> Geometry:
    """Turn and flip a grid's axes until they run along anatomical directions, as nearly as they can.

    Args:
        geometry: Any grid.
        orientation: Three letters of R, L, A, P, S, I for i, j, k; two letters: i and j only, k stays as it is.

    Returns:
        The same voxels in another order; ``geometry`` itself where they are in order.

    Raises:
        ImageError: if there are two letters, and the slices along k lie in another plane.
    """
    now = io_orientation(geometry.affine)
    codes = ornt2axcodes(now)
    wanted = tuple(orientation) if len(orientation) == 3 else (*orientation, codes[2])
    if len(orientation) == 2 and len({_BODY_AXES[code] for code in wanted}) < 3:
        raise ImageError(
            f"The classifier looks at planes along {' and '.join(_NAMES[code] for code in orientation)}, and the "
            f"image's slices run along {' and '.join(_NAMES[code] for code in codes[:2])}.",
            "Give a volume whose slices lie in the classifier's plane.",
        )
    if codes == wanted:
        return geometry
    change = ornt_transform(now, axcodes2ornt(wanted))
    i, j, k = (geometry.shape[int(np.flatnonzero(change[:, 0] == axis)[0])] for axis in range(3))
    return Geometry((i, j, k), geometry.affine @ inv_ornt_aff(change, geometry.shape))


_BODY_AXES = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_NAMES = {
    "R": "left-right",
    "L": "left-right",
    "A": "front-back",
    "P": "front-back",
    "S": "head-foot",
    "I": "head-foot",
}


def _fitted(plane: Geometry, shape: tuple[int, int, int], dims: int, fit: str) -> Geometry:
    """Resize a grid in proportion to whole voxels, then cut or add a border about its middle."""
    kind, _, edge = fit.partition(":")
    old, new = np.array(plane.shape[:dims]), np.array(shape[:dims])
    if kind == "native":
        middle = old
        offset = np.where(old > new, old // 2 - new // 2, -((new - old) // 2))
    elif edge:  # as torchvision's Resize(edge) does, then CenterCrop
        middle = np.maximum(1, (int(edge) * old / old.min()).astype(int))
        offset = np.where(middle >= new, np.round((middle - new) / 2), -((new - middle) // 2)).astype(int)
    else:
        ratio = (new / old).min() if kind == "pad" else (new / old).max()
        middle = np.maximum(1, np.round(old * ratio).astype(int))
        middle = np.minimum(middle, new) if kind == "pad" else np.maximum(middle, new)
        offset = np.where(middle >= new, np.round((middle - new) / 2), -((new - middle) // 2)).astype(int)
    ratios, shift = np.ones(3), np.zeros(3)
    ratios[:dims] = old / middle
    shift[:dims] = ratios[:dims] * (offset + 0.5) - 0.5
    affine = plane.affine.copy()
    affine[:3, :3] = plane.affine[:3, :3] * ratios
    affine[:3, 3] = plane.to_ras(shift)
    return Geometry(shape, affine)


def resample(
    image: Image, onto: Geometry, order: int = 1, outside: float = 0.0, interpolation: str = "gaussian"
) -> Image:
    """Sample an image on another grid.

    Args:
        image: Source.
        onto: Target grid, of any direction.
        order: 1: values between voxels, see ``interpolation``. 0: nearest (label maps).
        outside: Value outside the source's field, which reaches half a voxel beyond its outermost centres.
        interpolation: For order 1: one of ``kernels.KERNELS``. Between grids of different directions always linear,
            with a Gaussian first where the new voxels are larger.

    Returns:
        ``image`` itself where both grids are the same; else float32 for order 1 and the source's type for order 0.
    """
    if image.geometry.same_as(onto):
        return image
    if order not in (0, 1):
        raise ValueError(f"order {order} is neither 0 nor 1")
    to_source = np.linalg.inv(image.geometry.affine) @ onto.affine
    matrix, shift = to_source[:3, :3], to_source[:3, 3]
    array = image.array
    axes = np.abs(matrix).argmax(axis=0)  # of the source, that run along i, j, k of the target
    if sorted(axes) == [0, 1, 2] and list(axes) != [0, 1, 2]:
        array, matrix, shift = array.transpose(0, *(axes + 1)), matrix[axes], shift[axes]
    reach = np.abs(matrix) * np.array(onto.shape)
    aligned = (reach - np.diag(np.diag(reach))).max() < _EDGE
    if aligned:
        sampled = _sample_aligned(array, onto.shape, matrix, shift, order, outside, interpolation)
    else:
        sampled = _sample_oblique(array, onto.shape, matrix, shift, order, outside)
    dimension = 2 if image.dimension == 2 and onto.shape[2] == 1 else 3
    return Image(sampled, onto, image.id, dimension, image.modality, image.unit)


def windowed(array: np.ndarray, intensity: tuple[float, float]) -> np.ndarray:
    """Map ``(low, high)`` linearly to 0 and 1, float32, and clip."""
    low, high = intensity
    return np.clip((array - np.float32(low)) / np.float32(high - low), 0, 1, dtype=np.float32)


def change_to_native(change: np.ndarray, grid: Geometry, image: Image, intensity: tuple[float, float]) -> np.ndarray:
    """Resample a change from the classifier's grid to the image's grid.

    Only the change is resampled, not the image, which keeps its fine detail.

    Args:
        change: ``(channels, *size)`` difference of two images in [0, 1].
        grid: Grid of :func:`model_grid` for ``image``.
        image: The image that the change belongs to.
        intensity: ``(low, high)`` in the image's units; the change is a share of this range.

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
    """Return the matrices that strengthen the fine parts of a change that goes to a finer image and is seen from there.

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
    axes = np.abs(to_image[:3, :3]).argmax(axis=1)  # of the image, that run along i, j, k of the grid
    matrices = []
    for axis in range(3):
        other = axes[axis]
        way = _there_and_back(grid.shape[axis], geometry.shape[other], to_image[axis, other], to_image[axis, 3])
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
    """Return the matrix of sampling ``count`` voxels along an axis on ``other`` voxels and back.

    Args:
        count: Voxels of the first grid.
        other: Voxels of the second.
        step: Spacing of the second grid in voxels of the first.
        start: Position of the second grid's first voxel in the first.

    Returns:
        ``(count, count)``; column n is the response to voxel n.
    """
    affine = np.eye(4)
    affine[0, 0], affine[0, 3] = step, start
    voxels = Image(np.eye(count, dtype=np.float32)[:, :, None, None], Geometry((count, 1, 1), np.eye(4)), "voxels")
    there = resample(voxels, Geometry((other, 1, 1), affine))
    return np.asarray(resample(there, voxels.geometry).array[:, :, 0, 0].T, np.float64)


def _slice_plane(geometry: Geometry, slice_index: int | None) -> Geometry:
    """Return the grid of one slice along k."""
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


_LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""


def with_channels(image: Image, channels: int | None) -> Image:
    """Convert an image to a classifier's channels, where no information is lost or invented.

    Grey becomes as many equal channels as are wanted. Red, green and blue become grey: their luminance (ITU-R BT.601)
    where they differ. None: as it is.

    Raises:
        ImageError: if channels would have to be invented or dropped.
    """
    own = image.array.shape[0]
    if channels in (None, own):
        return image
    if own == 1:
        return image.with_array(np.repeat(image.array, channels, axis=0))
    if channels == 1 and (image.array == image.array[:1]).all():
        return image.with_array(image.array[:1])
    if needs_luminance(image, channels):
        return image.with_array(np.tensordot(_LUMINANCE, image.array, axes=(0, 0))[None].astype(np.float32))
    raise ImageError(
        f"Image {image.id} has {own} channels and the classifier wants {channels}.", "Give an image of that kind."
    )


def needs_luminance(image: Image, channels: int | None) -> bool:
    """Return whether a colour image is converted to luminance for so many channels."""
    colour = channels == 1 and image.array.shape[0] == 3 and image.dimension == 2
    return colour and not (image.array == image.array[:1]).all()


def _sample_aligned(
    array: np.ndarray,
    shape: tuple[int, ...],
    matrix: np.ndarray,
    shift: np.ndarray,
    order: int,
    outside: float,
    interpolation: str,
) -> np.ndarray:
    """Sample axis by axis: each axis is a matrix of weights, or an index where no arithmetic is asked."""
    result = array
    inside: list[slice] = [slice(None)] * 4
    for axis in sorted(range(3), key=lambda axis: shape[axis] / array.shape[axis + 1]):  # shrink before enlarging
        count, ratio = array.shape[axis + 1], abs(matrix[axis, axis])
        places = matrix[axis, axis] * np.arange(shape[axis]) + shift[axis]
        whole = np.rint(places)
        places = np.where(np.abs(places - whole) < SNAP, whole, places)
        within = np.flatnonzero((places >= -0.5 - _EDGE) & (places <= count - 0.5 + _EDGE))
        inside[axis + 1] = slice(within[0], within[-1] + 1) if len(within) else slice(0, 0)
        if order == 0 or (ratio <= 1 + SNAP and (places == whole).all()):
            nearest = np.clip(np.floor(places + 0.5), 0, count - 1).astype(int)
            result = np.take(result, nearest, axis=axis + 1)
        else:
            result = _weigh(result, axis + 1, KERNELS[interpolation](places, count, ratio))
    at = tuple(inside)
    if result[at].shape == result.shape:
        return result if order == 0 else result.astype(np.float32, copy=False)
    filled = np.full(result.shape, outside, result.dtype if order == 0 else np.float32)
    filled[at] = result[at]
    return filled


def _weigh(array: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    """Apply ``(new, old)`` weights along one axis; old voxels without weight are skipped."""
    used = np.flatnonzero(weights.any(axis=0))
    window = slice(used[0], used[-1] + 1)
    cut = np.asarray(array[(slice(None),) * axis + (window,)], np.float32)
    matrix = weights[:, window].astype(np.float32)
    if np.count_nonzero(matrix) < _SPARSE * matrix.size:
        first = np.moveaxis(cut, axis, 0)
        rows = sparse.csr_array(matrix) @ first.reshape(len(first), -1)
        return np.ascontiguousarray(np.moveaxis(rows.reshape(len(matrix), *first.shape[1:]), 0, axis))
    if axis == array.ndim - 1:
        return cut @ matrix.T
    rest = cut.shape[axis + 1 :]
    return (matrix @ cut.reshape(*cut.shape[: axis + 1], -1)).reshape(*cut.shape[:axis], len(matrix), *rest)


def _sample_oblique(
    array: np.ndarray, shape: tuple[int, ...], matrix: np.ndarray, shift: np.ndarray, order: int, outside: float
) -> np.ndarray:
    """Sample between grids of different directions."""
    index = np.indices(shape, dtype=np.float64).reshape(3, -1)
    places = (matrix @ index + shift[:, None]).reshape(3, *shape)
    limits = np.array(array.shape[1:]).reshape(3, 1, 1, 1) - 0.5 + _EDGE
    inside = ((places >= -0.5 - _EDGE) & (places <= limits)).all(axis=0)
    ratios = np.linalg.norm(matrix, axis=1)
    widths = [blur(ratio) if order and ratio > 1 + SNAP else 0.0 for ratio in ratios]
    result = np.empty((array.shape[0], *shape), np.float32 if order else array.dtype)
    for channel in range(array.shape[0]):
        source = array[channel].astype(np.float32) if order else array[channel]
        if any(widths):
            source = ndimage.gaussian_filter(source, widths, mode="nearest")
        sampled = ndimage.map_coordinates(source, places, order=order, mode="nearest")
        result[channel] = np.where(inside, sampled, outside)
    return result
