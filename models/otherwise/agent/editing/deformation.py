"""Smooth deformations of an image: what it shows becomes larger, smaller, wider or narrower, in places or as a whole.

A deformation is a displacement field ``d``: the deformed image at ``p`` is the original at ``p + d(p)``. It is a
weighted sum of local magnifications, each of which pulls everything towards or away from a centre, and fades out with
the distance from it. Texture is moved, never drawn. What a place becomes in size is the Jacobian determinant of
``p + d(p)``; a field folds where that is not positive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from otherwise.agent.editing.candidate import Candidate
from otherwise.images.image import Geometry, Image

WIDTHS = {2: (1 / 8, 1 / 5, 1 / 3), 3: (1 / 5, 1 / 3)}
"""Standard deviations of the local magnifications as shares of the shortest edge, by number of dimensions."""
SPACE = 0.7
"""Distance of the centres from the border, in standard deviations; between the centres it is about twice as much."""
SHRUNK, GROWN = 0.25, 5.0
"""Least and greatest factor by which a place may become smaller or larger in area or volume."""
BEYOND = 0.15
"""Distance beyond the classifier's field, as a share of its edges, in which a deformation of a larger image fades."""
_CUBIC = 3
_BLOCK = 2**18  # voxels that are interpolated at once
_NOTHING = 1e-3  # weights below this one count as 0


def magnifications(size: tuple[int, ...]) -> torch.Tensor:
    """Return displacement fields ``(n, dims, *size)`` float32 in voxels, each for a log-magnification of 1.

    There are local ones at evenly spaced centres in some widths, one of the whole image, and a stretch along each axis.
    """
    places = _places(size)
    fields = []
    for width in (share * min(size) for share in WIDTHS[len(size)]):
        axes = [_centres(edge, width) for edge in size]
        for centre in torch.cartesian_prod(*axes):
            offset = places - centre.view(-1, *[1] * len(size))
            fields.append(-offset * torch.exp(-offset.square().sum(0) / (2 * width**2)))
    middle = torch.tensor([(edge - 1) / 2 for edge in size]).view(-1, *[1] * len(size))
    whole = middle - places
    fields.append(whole)
    for axis in range(len(size)):
        along = torch.zeros_like(whole)
        along[axis] = whole[axis]
        fields.append(along)
    return torch.stack(fields)


def count_magnifications(size: tuple[int, ...]) -> int:
    """Return how many fields ``magnifications`` returns, without making them."""
    return sum(_local_counts(size)) + 1 + len(size)


def coarse_kinds(size: tuple[int, ...]) -> tuple[slice, ...]:
    """Return which of ``magnifications`` are the widest local ones, and which are those of the whole image."""
    counts = _local_counts(size)
    local = sum(counts)
    return slice(local - counts[-1], local), slice(local, count_magnifications(size))


def deformed(image: np.ndarray, fields: torch.Tensor) -> np.ndarray:
    """Return an image under each of several displacement fields.

    Args:
        image: ``(channels, *size)`` float32 in [0, 1].
        fields: ``(n, dims, *size)`` in voxels. Beyond the border, the image continues as at the border.

    Returns:
        ``(n, channels, *size)`` float32 in [0, 1]; bicubic in 2-D, trilinear in 3-D.
    """
    size = image.shape[1:]
    points = _places(size) + fields
    scaled = [2 * points[:, axis] / max(size[axis] - 1, 1) - 1 for axis in reversed(range(len(size)))]
    found = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(image)).expand(len(fields), *image.shape),
        torch.stack(scaled, dim=-1),
        mode="bicubic" if len(size) == 2 else "bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return found.clamp(0, 1).numpy()


def magnified(fields: torch.Tensor) -> torch.Tensor:
    """Return the factors ``(n, *size)`` by which each place grows in area or volume; at most 0 where a field folds."""
    dims = fields.shape[1]
    rows = [torch.stack(torch.gradient(fields[:, axis], dim=tuple(range(1, dims + 1))), -1) for axis in range(dims)]
    jacobian = torch.stack(rows, dim=-2) + torch.eye(dims)
    shrinkage = _determinant(jacobian)
    return torch.where(shrinkage > 0, 1 / shrinkage.clamp_min(1e-6), -1.0)


def _determinant(matrices: torch.Tensor) -> torch.Tensor:
    """Return the determinants of matrices ``(..., 2, 2)`` or ``(..., 3, 3)``, far faster than by a factorisation."""
    rows = matrices.unbind(-2)
    if len(rows) == 2:
        return rows[0][..., 0] * rows[1][..., 1] - rows[0][..., 1] * rows[1][..., 0]
    return (rows[0] * torch.linalg.cross(rows[1], rows[2])).sum(-1)


def is_plausible(fields: torch.Tensor) -> torch.Tensor:
    """Return for each field ``(n,)`` whether it folds nowhere and changes no place beyond ``SHRUNK`` and ``GROWN``."""
    factors = magnified(fields).flatten(1)
    return (factors >= SHRUNK).all(1) & (factors <= GROWN).all(1)


def blend(original: np.ndarray, start: Candidate, end: Candidate, share: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the image between two edits, and its displacement field; deformations are blended as fields.

    Args:
        original: The unchanged image, ``(channels, *size)``.
        start: The edit at share 0; it may be the original itself.
        end: The edit at share 1.
        share: At most a little above 1.
    """
    if end.displacement is None:
        return np.asarray(((1 - share) * start.image + share * end.image).clip(0, 1), np.float32), None
    first = np.zeros_like(end.displacement) if start.displacement is None else start.displacement
    field = np.asarray((1 - share) * first + share * end.displacement, np.float32)
    return deformed(original, torch.from_numpy(field)[None])[0], field


def deformed_native(image: Image, grid: Geometry, displacement: np.ndarray) -> np.ndarray:
    """Return the voxels of an image on its own grid under a field that is given on another grid.

    Args:
        image: The image.
        grid: Where the field lies. A field of one slice moves that slice only.
        displacement: ``(dims, *size)`` in voxels of ``grid``. Beyond ``grid`` it fades out (``BEYOND``).

    Returns:
        ``(channels, i, j, k)`` float32 in the image's units, within the image's range; by cubic splines.
    """
    to_grid = np.linalg.inv(grid.affine) @ image.geometry.affine
    out = image.array.astype(np.float32)
    for k in _slices(to_grid, image.geometry.shape[2]) if displacement.ndim == 3 else (slice(None),):
        part = out[..., k]
        axes = tuple(axis for axis in range(3) if part.shape[1 + axis] > 1)
        splines = [_spline(channel, axes) for channel in part]
        for rows, places in _rows(part.shape[1:], k.start or 0):
            moved = _moved(displacement, to_grid, places)
            where = moved.any(axis=0)
            points = (places + moved)[:, where]
            points[2] -= k.start or 0
            for channel, spline in enumerate(splines):
                part[channel, rows][where] = ndimage.map_coordinates(
                    spline, points[list(axes)], order=_CUBIC, mode="nearest", prefilter=False
                )
    return np.asarray(out.clip(image.array.min(), image.array.max()), np.float32)


def displacement_in_space(displacement: np.ndarray, grid: Geometry) -> Image:
    """Return a displacement field in physical space, padded by the margin in which it fades out.

    Args:
        displacement: ``(dims, *size)`` in voxels of ``grid``; see ``deformed_native``.
        grid: Where it lies.

    Returns:
        ``(3, i, j, k)`` float32, RAS in the unit of the geometry: what lies at ``p`` in the deformed image lies at
        ``p`` plus this in the original. Beyond this image there is no displacement.
    """
    reach = math.sqrt(-math.log(_NOTHING)) * BEYOND
    margin = np.zeros(3, int)
    margin[: len(displacement)] = [math.ceil(reach * max(edge - 1, 1)) for edge in displacement.shape[1:]]
    i, j, k = (int(edge) for edge in np.array(grid.shape) + 2 * margin)
    to_grid = np.eye(4)
    to_grid[:3, 3] = -margin
    places = np.indices((i, j, k), dtype=np.float64)
    moved = np.tensordot(grid.affine[:3, :3], _moved(displacement, to_grid, places), 1)
    return Image(moved.astype(np.float32), Geometry((i, j, k), grid.affine @ to_grid), "displacement", 3)


def _slices(to_grid: np.ndarray, count: int) -> tuple[slice, ...]:
    """Return the slices of an image that lie in the plane of a grid of one slice."""
    depth = to_grid[2, 2] * np.arange(count) + to_grid[2, 3]
    return tuple(slice(int(k), int(k) + 1) for k in np.flatnonzero(np.abs(depth) <= 0.5))


def _rows(shape: tuple[int, ...], first_slice: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut a volume along i; yield each part and its voxel indices ``(3, i, j, k)``."""
    thick = max(1, _BLOCK // (shape[1] * shape[2]))
    for start in range(0, shape[0], thick):
        rows = slice(start, min(start + thick, shape[0]))
        axes = (np.arange(rows.start, rows.stop), np.arange(shape[1]), np.arange(shape[2]) + first_slice)
        yield rows, np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float64)


def _moved(displacement: np.ndarray, to_grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the displacement of voxels ``(3, i, j, k)``, in voxels of the image."""
    dims = len(displacement)
    at = np.tensordot(to_grid[:3, :3], places, 1) + to_grid[:3, 3].reshape(3, 1, 1, 1)
    moved = np.zeros_like(at)
    last = np.array(displacement.shape[1:]).reshape(-1, 1, 1, 1) - 1
    outside = np.maximum(np.maximum(-at[:dims], at[:dims] - last), 0) / (BEYOND * np.maximum(last, 1))
    weight = np.exp(-np.square(outside).sum(0))
    weight[weight < _NOTHING] = 0
    for axis, part in enumerate(displacement):
        moved[axis] = weight * ndimage.map_coordinates(part, at[:dims], order=1, mode="nearest")
    return np.tensordot(np.linalg.inv(to_grid[:3, :3]), moved, 1)


def _spline(channel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the coefficients of cubic splines along the axes of more than one voxel; an array of these axes."""
    values = channel.squeeze(tuple(set(range(3)) - set(axes)))
    return np.asarray(ndimage.spline_filter(values, order=_CUBIC, output=np.float32, mode="nearest"))


def _centres(edge: int, width: float) -> torch.Tensor:
    return torch.linspace(SPACE * width, edge - 1 - SPACE * width, _centre_count(edge, width))


def _local_counts(size: tuple[int, ...]) -> list[int]:
    """Return the number of local magnifications of each width, in ascending order of width."""
    return [math.prod(_centre_count(edge, share * min(size)) for edge in size) for share in WIDTHS[len(size)]]


def _centre_count(edge: int, width: float) -> int:
    return max(2, round(SPACE * edge / width))


def _places(size: tuple[int, ...]) -> torch.Tensor:
    """Return the index of each voxel, ``(dims, *size)`` float32."""
    axes = [torch.arange(edge, dtype=torch.float32) for edge in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
