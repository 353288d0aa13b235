"""Voxels of a large image on the grid of a classifier of patches, only where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import grid_of, suited_channels
from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import resample, turned, windowed

MOST_VOXELS = 24_000_000
"""Of the resampled image that are held at once; a patch may need more."""
Index = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Box:
    """Voxels ``(channels, *edges)`` of a grid, in the image's own units, and the first of them."""

    first: np.ndarray
    voxels: np.ndarray


@dataclass(frozen=True, eq=False)
class Change:
    """Changed voxels of an image, and the index of their first one in it."""

    part: Image
    low: Index


def whole_grid(image: Image, inputs: InputSpec, slice_index: int | None, classifier: str) -> Geometry:
    """Return the grid of a classifier's spacing over a whole image.

    Args:
        image: 2-D, or a volume.
        inputs: Of a classifier of patches.
        slice_index: For a 2-D classifier and a volume: which slice.
        classifier: Its name, for the message of an error.

    Raises:
        ImageError: if the image is smaller than a patch, or a volume and no slice of it was chosen.
    """
    assert inputs.spacing is not None
    dims = len(inputs.size)
    plane = image.geometry if slice_index is None else image.geometry.slice(slice_index)
    if dims == 2 and slice_index is None and image.geometry.shape[2] > 1:
        grid_of(image.geometry, inputs)  # raises the error that says what to do
    if inputs.orientation is not None:
        plane = turned(plane, inputs.orientation)
    extent = [count * step for count, step in zip(plane.shape, plane.spacing, strict=True)][:dims]
    patch = [edge * step for edge, step in zip(inputs.size, inputs.spacing, strict=True)]
    # Half a voxel is a matter of rounding.
    if any(length < edge - step / 2 for length, edge, step in zip(extent, patch, inputs.spacing, strict=True)):
        raise ImageError(
            f"Image {image.id} ({_mm(extent)}) is smaller than the patches of {_mm(patch)} that {classifier} looks at.",
            "Give the whole image, not a part of it.",
        )
    size = tuple(
        max(edge, round(length / step)) for edge, length, step in zip(inputs.size, extent, inputs.spacing, strict=True)
    )
    return grid_of(image.geometry, replace(inputs, size=size), slice_index)


def sample(
    image: Image, inputs: InputSpec, whole: Geometry, first: np.ndarray, last: np.ndarray, change: Change | None = None
) -> np.ndarray:
    """Return a box of a grid, of which only the surroundings are read.

    Args:
        image: The image.
        inputs: What the classifier wants.
        whole: The grid over all of the image.
        first, last: First voxel of the box, and one past its last.
        change: Voxels that replace those of the image.

    Returns:
        ``(channels, *edges)`` float32 in the image's own units.
    """
    (i, j, k), (a, b, c) = (*first.tolist(), 0)[:3], (*last.tolist(), 1)[:3]
    grid = whole.crop((i, j, k), (a, b, c))
    begin, stop = native_box(grid, image.geometry, margin=2)
    around = image.crop(begin, stop)
    if change is not None:
        array = around.array.astype(np.result_type(around.array, change.part.array))
        _put(array, change.part.array, np.array(change.low) - begin)
        around = around.with_array(array)
    suited = suited_channels(around, inputs)
    sampled = resample(suited, grid, outside=inputs.intensity[0], interpolation=inputs.interpolation)
    array = sampled.array.astype(np.float32, copy=False)
    return array[..., 0] if len(inputs.size) == 2 else array


def shown(patch: np.ndarray, inputs: InputSpec) -> np.ndarray:
    """Return a patch in [0, 1]: in the classifier's window or, where it wants that, in the patch's own."""
    window = inputs.intensity
    if inputs.own_window:
        window = (float(patch.min()), float(patch.max()))
    return windowed(patch, window) if window[1] > window[0] else np.zeros_like(patch)


def window_at(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of a patch that begins at ``start``."""
    return tuple(slice(int(a), int(a) + edge) for a, edge in zip(start, size, strict=True))


def slabs(starts: np.ndarray, edge: int, voxels: int) -> list[np.ndarray]:
    """Divide patches along the first axis, so that no more than ``MOST_VOXELS`` of the grid are held at once.

    Args:
        starts: ``(patches, 2 or 3)`` first voxels.
        edge: Of a patch along the first axis.
        voxels: Of the grid for one step along it.
    """
    rows = np.unique(starts[:, 0])
    most = max(1, MOST_VOXELS // voxels)
    divided, begun = [], rows[0]
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if following is None or following + edge - begun > most:
            divided.append(starts[(starts[:, 0] >= begun) & (starts[:, 0] <= row)])
            begun = following
    return divided


def box_within(inner: Geometry, outer: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the outer edges of a grid in the voxels of another one of the same directions."""
    corners = np.array([[-0.5] * 3, np.array(inner.shape) - 0.5])
    edges = outer.to_index(inner.to_ras(corners))
    return edges.min(axis=0), edges.max(axis=0)


def native_box(grid: Geometry, native: Geometry, margin: int = 0) -> tuple[Index, Index]:
    """Return the box of an image's voxels whose centres lie within a grid's outer edges.

    Args:
        grid: In the image's directions.
        native: The image's own grid.
        margin: Voxels of ``grid`` to add on every side.
    """
    low, high = box_within(grid, native)
    ratio = np.ceil(np.array(grid.spacing) / native.spacing)
    more = margin * np.where(np.array(native.shape) > 1, ratio, 0)
    limit = np.array(native.shape)
    first = np.clip(np.ceil(low - 1e-6) - more, 0, limit - 1).astype(int)
    last = np.clip(np.floor(high + 1e-6) + 1 + more, first + 1, limit).astype(int)
    (i, j, k), (a, b, c) = first.tolist(), last.tolist()
    return (i, j, k), (a, b, c)


def _put(whole: np.ndarray, part: np.ndarray, at: np.ndarray) -> None:
    """Overwrite what a part covers of ``whole (channels, i, j, k)``; it may reach beyond it, or lie beside it."""
    first = np.maximum(at, 0)
    last = np.minimum(at + part.shape[1:], whole.shape[1:])
    if (last <= first).any():
        return
    there = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    here = tuple(slice(int(a), int(b)) for a, b in zip(first - at, last - at, strict=True))
    whole[(slice(None), *there)] = part[(slice(None), *here)]


def _mm(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"
