"""A region of an image: a set of voxels on a grid in the patient."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.image import Geometry

MOST_VOXELS = 2**27
"""Largest grid of a region that is read by default: 512 x 512 x 512."""
MOST_POINTS = 2_000
"""Most corners of a polygon."""

_DRAW = "Draw it on the image again."
_SLAB = 2**20  # voxels at a time


class RegionError(OtherwiseError):
    """A region is empty, lies outside the image, or is malformed."""

    code = "region"
    status = 422


@dataclass(frozen=True, eq=False)
class RegionMask:
    """Voxels of a grid. The grid may be a part of the image's, or another one; ``on`` carries it over.

    Attributes:
        mask: ``(i, j, k)`` bool, read-only, at least one of them true.
        geometry: The grid, from voxel index to RAS millimetres.

    Raises:
        RegionError: if no voxel is in the region, or the mask does not fit the grid.
    """

    mask: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or self.mask.shape != self.geometry.shape:
            raise RegionError(
                f"A mask of {self.mask.dtype} {self.mask.shape} is none for a grid of {self.geometry.shape}.",
                "Give true and false for every voxel.",
            )
        if not self.mask.any():
            raise RegionError("The region is empty.", _DRAW)
        mask = self.mask.view()
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegionMask):
            return NotImplemented
        return self.geometry.same_as(other.geometry) and np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash((self.geometry.shape, self.geometry.affine.tobytes()))

    @classmethod
    def from_polygon(cls, points_ras: Any, geometry: Geometry) -> RegionMask:
        """Fill a closed polygon that was drawn on one slice.

        The slice is one along the voxel axis that comes nearest to the polygon's normal. Voxels whose centre lies
        inside are taken; a polygon that surrounds no centre takes the voxel in its middle.

        Args:
            points_ras: ``(n, 3)`` corners in RAS millimetres, three to ``MOST_POINTS``; the last joins the first.
            geometry: The image's grid.

        Raises:
            RegionError: if these are no such points, they lie on one line or in no plane, or outside the image.
        """
        points = _points(points_ras)
        centred = points - points.mean(axis=0)
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        if lengths[1] <= 1e-6 * max(lengths[0], 1.0):
            raise RegionError("The polygon's points lie on one line.", _DRAW)
        if np.abs(centred @ axes[2]).max() > max(geometry.spacing):
            raise RegionError("The polygon's points do not lie in one plane.", "Draw it on one slice.")
        directions = geometry.affine[:3, :3] / geometry.spacing
        across = int(np.abs(axes[2] @ directions).argmax())
        index = geometry.to_index(points)
        slice_index = float(np.rint(index[:, across].mean()))
        if not 0 <= slice_index < geometry.shape[across]:
            raise _outside()
        first, second = (axis for axis in range(3) if axis != across)
        mask = np.zeros(geometry.shape, dtype=bool)
        plane = np.moveaxis(mask, across, 0)[int(slice_index)]
        plane[:] = _filled(index[:, [first, second]], plane.shape)
        if not plane.any():
            middle = np.rint(index[:, [first, second]].mean(axis=0))
            if (middle < 0).any() or (middle >= plane.shape).any():
                raise _outside()
            plane[tuple(middle.astype(int))] = True
        return cls(mask, geometry)

    @classmethod
    def from_json(cls, value: Any, most_voxels: int = MOST_VOXELS) -> RegionMask:
        """Read what :meth:`to_json` wrote.

        Args:
            value: Decoded JSON from anywhere.
            most_voxels: Largest grid to accept; nothing larger is decompressed.

        Raises:
            RegionError: if it is no region, an empty one, or one of too many voxels.
        """
        if not isinstance(value, dict) or set(value) != {"shape", "affine", "voxels"}:
            raise _no_region("it has not exactly shape, affine and voxels")
        geometry = _geometry(value["shape"], value["affine"], most_voxels)
        count = int(np.prod(geometry.shape))
        packed = np.frombuffer(_decompress(value["voxels"], -(-count // 8)), dtype=np.uint8)
        region = cls(np.unpackbits(packed, count=count).view(np.bool_).reshape(geometry.shape), geometry)
        # Other versions of zlib find other bytes for the same voxels; kept, what was read is written again exactly.
        region.__dict__["_voxels"] = value["voxels"]
        return region

    def to_json(self) -> dict[str, Any]:
        """Return the region as JSON: ``shape``, ``affine`` and ``voxels``.

        Voxels are one bit each, last axis fastest, first of eight in the highest bit (``numpy.packbits``), then zlib
        (RFC 1950), then base64.
        """
        return {
            "shape": list(self.geometry.shape),
            "affine": self.geometry.affine.tolist(),
            "voxels": self._voxels,
        }

    def cropped(self) -> RegionMask:
        """Return the same voxels on the smallest box of the grid that contains them."""
        if all(np.moveaxis(self.mask, axis, 0)[end].any() for axis in range(3) for end in (0, -1)):
            return self
        low, high = self._box
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return RegionMask(self.mask[part].copy(), self.geometry.crop(low, high))

    def on(self, geometry: Geometry) -> RegionMask:
        """Carry the region to another grid: a voxel there is in it where the nearest voxel here is.

        Where voxels there are so large that no centre of theirs meets the region, those that hold a centre of the
        region are taken, so that a small region never vanishes on a coarse grid.

        Raises:
            RegionError: if the region lies outside that grid.
        """
        if geometry.same_as(self.geometry):
            return self
        low, high = self._box
        corners = np.array(list(product(*zip(np.array(low) - 0.5, np.array(high) - 0.5, strict=True))))
        there = geometry.to_index(self.geometry.to_ras(corners))
        start = np.clip(np.ceil(there.min(axis=0) - 1e-6), 0, geometry.shape).astype(int)
        stop = np.clip(np.floor(there.max(axis=0) + 1e-6) + 1, 0, geometry.shape).astype(int)
        mask = np.zeros(geometry.shape, dtype=bool)
        if (start < stop).all():
            self._sample(mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))], geometry, start)
        if not mask.any():
            centres = np.rint(geometry.to_index(self.geometry.to_ras(np.argwhere(self.mask))))
            inside = centres[((centres >= 0) & (centres < geometry.shape)).all(axis=1)].astype(int)
            mask[tuple(inside.T)] = True
        if not mask.any():
            raise _outside()
        return RegionMask(mask, geometry)

    def _sample(self, target: np.ndarray, geometry: Geometry, start: np.ndarray) -> None:
        """Fill a box of another grid, which begins at ``start``, from the nearest voxels, slab by slab."""
        matrix = np.linalg.solve(self.geometry.affine, geometry.affine)
        offset = matrix[:3, 3] + matrix[:3, :3] @ start
        slab = max(1, _SLAB // (target.shape[1] * target.shape[2]))
        for first in range(0, target.shape[0], slab):
            part = target[first : first + slab]
            steps = np.ogrid[first : first + len(part), : part.shape[1], : part.shape[2]]
            inside = np.ones(part.shape, dtype=bool)
            index = []
            for axis, count in enumerate(self.geometry.shape):
                place = offset[axis] + sum(matrix[axis, other] * steps[other] for other in range(3))
                # A hair's breadth, so that rounding decides alike for grids that share their centres.
                nearest = np.floor(place + (0.5 + 1e-6)).astype(np.int32)
                inside &= (nearest >= 0) & (nearest < count)
                index.append(nearest.clip(0, count - 1))
            part[:] = self.mask[tuple(index)] & inside

    @cached_property
    def _voxels(self) -> str:
        return base64.b64encode(zlib.compress(np.packbits(self.mask).tobytes())).decode("ascii")

    @cached_property
    def _box(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return the first voxel of the smallest box that contains the region, and one past its last."""
        ends = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            taken = np.flatnonzero(self.mask.any(axis=others))
            ends.append((int(taken[0]), int(taken[-1]) + 1))
        (i, i_end), (j, j_end), (k, k_end) = ends
        return (i, j, k), (i_end, j_end, k_end)


def _points(points_ras: Any) -> np.ndarray:
    try:
        points = np.asarray(points_ras, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 3 or not 3 <= len(points) <= MOST_POINTS:
        raise RegionError(f"A polygon has 3 to {MOST_POINTS} points of 3 numbers each.", _DRAW)
    if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
        raise RegionError("A point of the polygon is not finite, or kilometres away.", _DRAW)
    return points


def _filled(corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels ``shape`` whose centre lies within a polygon ``(n, 2)``, by the even-odd rule.

    Going along a row, every edge that is crossed changes sides. Libraries that ask each pixel about each edge take
    seconds for a contour around a breast.
    """
    rows, columns = shape
    changes = np.zeros((rows, columns + 1), dtype=bool)
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        (top, left), (bottom, right) = sorted((here.tolist(), there.tolist()))
        crossed = np.arange(max(0, math.ceil(top)), min(rows, math.ceil(bottom)))
        if len(crossed):
            place = left + (crossed - top) * ((right - left) / (bottom - top))
            changes[crossed, np.ceil(place).clip(0, columns).astype(int)] ^= True
    return np.logical_xor.accumulate(changes, axis=1)[:, :-1]


def _geometry(shape: Any, affine: Any, most_voxels: int) -> Geometry:
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(count) is int and count > 0 for count in shape):
        raise _no_region("its shape is not three counts of voxels")
    i, j, k = shape
    if i * j * k > most_voxels:
        raise RegionError(f"The region's grid has more than {most_voxels} voxels.", "Send the part that holds it.")
    rows = affine if isinstance(affine, list) else []
    if len(rows) != 4 or not all(isinstance(row, list) and len(row) == 4 for row in rows):
        raise _no_region("its affine is not 4 x 4")
    if not all(type(number) in (int, float) and abs(number) < 1e9 for row in rows for number in row):
        raise _no_region("its affine holds what is no number, or a huge one")
    if rows[3] != [0, 0, 0, 1]:
        raise _no_region("the last row of its affine is not 0, 0, 0, 1")
    try:
        return Geometry((i, j, k), np.array(rows, dtype=np.float64))
    except ImageError as error:
        raise RegionError(error.detail, error.hint) from error


def _decompress(voxels: Any, length: int) -> bytes:
    # What cannot be compressed grows by far less than this.
    if not isinstance(voxels, str) or len(voxels) > 2 * length + 1024:
        raise _no_region("its voxels are no text, or too long a one")
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(voxels, validate=True), length + 1)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise _no_region("its voxels are not base64 of zlib") from error
    if len(data) != length or not stream.eof or stream.unused_data:
        raise _no_region("its voxels are not as many as its shape says")
    return data


def _no_region(why: str) -> RegionError:
    return RegionError(f"This is no region: {why}.", "Send shape, affine and voxels as the documentation says.")


def _outside() -> RegionError:
    return RegionError("The region lies outside the image.", "Draw it on this image.")
