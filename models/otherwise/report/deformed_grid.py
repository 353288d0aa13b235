"""Draw a regular grid of the original as it lies in the deformed image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from otherwise.images.image import Geometry, Image
from otherwise.report.planes import ViewPlane

LINES = 16
"""Lines across the longer side of a picture."""
OUTSIDE = -10
"""Index of a slice beyond every field, where nothing moves."""
SAMPLES = 160
"""Places at which the displacement is looked up along the longer side; it is smooth."""


def grid_lines(displacement: Image, geometry: Geometry, plane: ViewPlane, width: float, height: float) -> str:
    """Return the grid lines in one plane as an SVG path.

    A place ``p`` of the deformed image comes from ``p + d(p)``. The places that come from one line of the original are
    those at which a coordinate of ``p + d(p)`` has one value: a contour of it.

    Args:
        displacement: Field ``d``, see ``deformation.displacement_in_space``.
        geometry: The image's grid.
        plane: Plane of the image. Movement across it is not shown.
        width, height: Size of the picture in the units of the drawing.

    Returns:
        The ``d`` of an SVG path.
    """
    longer = max(plane.height_mm, plane.width_mm)
    lengths = np.array([plane.height_mm, plane.width_mm])
    counts = [max(8, round(SAMPLES * length / longer)) for length in lengths]
    down, right = np.meshgrid(*((np.arange(count) + 0.5) / count for count in counts), indexing="ij")
    voxel = np.empty((3, *down.shape))
    voxel[plane.axis] = plane.index
    sides = ((plane.rows, down, plane.flip_rows), (plane.columns, right, plane.flip_columns))
    for axis, share, flipped in sides:
        voxel[axis] = (1 - share if flipped else share) * geometry.shape[axis] - 0.5
    moved = _moved(displacement, geometry, voxel)
    lines = []
    for (axis, share, flipped), length in zip(sides, lengths, strict=True):
        origin = share + (-1 if flipped else 1) * moved[axis] / geometry.shape[axis]
        steps = max(2, round(LINES * length / longer))
        for level in (np.arange(steps) + 0.5) / steps:
            lines += find_contours(origin, level)
    scale = np.array([height, width]) / counts
    drawn = [(line + 0.5) * scale for line in lines]
    return "".join("M" + "L".join(f"{x:.2f} {y:.2f}" for y, x in line) for line in drawn)


def _moved(displacement: Image, geometry: Geometry, voxel: np.ndarray) -> np.ndarray:
    """Return the displacement at voxels ``(3, rows, columns)`` of a grid, in its voxels."""
    to_field = np.linalg.inv(displacement.geometry.affine) @ geometry.affine
    at = np.tensordot(to_field[:3, :3], voxel, 1) + to_field[:3, 3].reshape(3, 1, 1)
    if displacement.geometry.shape[2] == 1:  # one slice moves the whole slice of the image in which it lies
        at[2] = np.where(np.abs(at[2]) <= 0.5, 0, OUTSIDE)
    vectors = np.stack([ndimage.map_coordinates(part, at, order=1, mode="constant") for part in displacement.array])
    return np.tensordot(np.linalg.inv(geometry.affine[:3, :3]), vectors, 1)
