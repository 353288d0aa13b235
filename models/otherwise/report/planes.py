"""The planes of a volume that a report shows, in radiological orientation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation

from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry

Voxel = tuple[int, int, int]

# Anatomical axis normal to the plane: (name, axis along the columns, axis along the rows); 0 = R/L, 1 = A/P, 2 = S/I.
_ANATOMY = {2: ("axial", 0, 1), 1: ("coronal", 0, 2), 0: ("sagittal", 1, 2)}
# Screen convention: patient right, anterior or superior come first (left or top).
_LETTERS = {0: ("R", "L"), 1: ("A", "P"), 2: ("S", "I")}


@dataclass(frozen=True)
class ViewPlane:
    """One slice along the grid's own axes, with its place on the screen.

    Attributes:
        name: "axial", "coronal" or "sagittal" (of an oblique grid: the nearest), or "image" for a 2-D image.
        axis: Grid axis that is normal to the plane.
        index: Slice number along ``axis``.
        columns, rows: Grid axes that run to the right and downwards.
        flip_columns, flip_rows: Whether they run against the grid's index.
        width_mm, height_mm: Size of the whole plane in millimetres.
        letters: Patient directions at the (left, right, top, bottom) edges; empty for 2-D.
    """

    name: str
    axis: int
    index: int
    columns: int
    rows: int
    flip_columns: bool
    flip_rows: bool
    width_mm: float
    height_mm: float
    letters: tuple[str, ...] = ()

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Take this plane out of ``(i, j, k)`` or ``(channels, i, j, k)``.

        Returns:
            ``(rows, columns)`` or ``(channels, rows, columns)`` as displayed.
        """
        plane = np.take(volume, self.index, axis=volume.ndim - 3 + self.axis)
        if self.columns < self.rows:
            plane = np.swapaxes(plane, -1, -2)
        if self.flip_rows:
            plane = np.flip(plane, axis=-2)
        if self.flip_columns:
            plane = np.flip(plane, axis=-1)
        return plane


def planes_through(geometry: Geometry, dimension: int, voxel: Voxel) -> tuple[ViewPlane, ...]:
    """Choose the planes that show a voxel.

    Args:
        geometry: The image's grid.
        dimension: 2: the image itself, rows along j and columns along i. 3: three planes along the grid's own axes,
            named after the nearest anatomical ones and turned as radiologists see them.
        voxel: ``(i, j, k)`` inside the grid.

    Returns:
        One or three planes; that of the acquired slices (normal to k) comes first.
    """
    spacing, shape = geometry.spacing, geometry.shape
    if dimension == 2:
        return (ViewPlane("image", 2, 0, 0, 1, False, False, shape[0] * spacing[0], shape[1] * spacing[1]),)
    orientation = io_orientation(geometry.affine)
    grid_axis = {int(anatomical): axis for axis, (anatomical, _) in enumerate(orientation)}
    planes = []
    for normal, (name, across, down) in _ANATOMY.items():
        axis, columns, rows = grid_axis[normal], grid_axis[across], grid_axis[down]
        planes.append(
            ViewPlane(
                name,
                axis,
                voxel[axis],
                columns,
                rows,
                # Indices that grow towards right, anterior or superior run against the screen.
                bool(orientation[columns, 1] > 0),
                bool(orientation[rows, 1] > 0),
                shape[columns] * spacing[columns],
                shape[rows] * spacing[rows],
                _LETTERS[across] + _LETTERS[down],
            )
        )
    return tuple(sorted(planes, key=lambda plane: plane.axis != 2))


def strongest_voxel(explanation: Explanation, label: int | None = None) -> Voxel:
    """Find the voxel where a region's measured effect is strongest.

    Args:
        label: A region; None: the first one, or without any region the largest change.

    Returns:
        ``(i, j, k)``; the centre of the grid where nothing changed at all.
    """
    volumes = explanation.volumes
    regions, number = volumes.regions.array[0], 1 if label is None else label
    least, strongest, voxel = np.inf, -np.inf, (0, 0, 0)
    anywhere = not (regions == number).any()
    for i in range(regions.shape[0]):  # plane by plane: a large image has no memory for copies
        if anywhere:
            weight = np.abs(volumes.difference.array[:, i]).max(axis=0)
        else:
            weight = np.where(regions[i] == number, np.abs(volumes.effect.array[0, i]), -1.0)
        j, k = (int(place) for place in np.unravel_index(int(np.argmax(weight)), weight.shape))
        least = min(least, float(weight.min()))
        if weight[j, k] > strongest:
            strongest, voxel = float(weight[j, k]), (i, j, k)
    if least == strongest:
        i, j, k = (size // 2 for size in regions.shape)
        return (i, j, k)
    return voxel
