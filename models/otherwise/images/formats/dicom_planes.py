"""Stack planes in space (DICOM slices or frames) to one regular grid, or refuse them with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.itk import swap_ras_lps

_ANGLE = 1e-3  # cosines; the same as Slicer and ITK allow
_UNEVEN = 0.1  # share of the slice distance; positions are often rounded to a tenth of a millimetre
_SHIFT = 0.25  # share of a pixel by which a slice may lie beside the normal of the first one
_TILT_HINT = (
    "Straighten it first: 3D Slicer offers this when it loads the series (acquisition geometry regularization)."
)


@dataclass(frozen=True)
class Plane:
    """One slice or frame, in the terms of DICOM PS3.3 C.7.6.2.

    Attributes:
        position: ``(3,)`` centre of the first pixel, LPS millimetres; None where DICOM gives none (radiographs).
        right: ``(3,)`` unit vector along a row, towards higher column numbers.
        down: ``(3,)`` unit vector along a column, towards higher row numbers.
        spacing: Millimetres between neighbours along ``right`` and ``down``.
        thickness: Millimetres.
        size: Number of columns and rows.
        measured: Whether the file gives the size of a pixel; if not, spacing is 1 and counts pixels.
    """

    position: np.ndarray | None
    right: np.ndarray
    down: np.ndarray
    spacing: tuple[float, float]
    thickness: float
    size: tuple[int, int]
    measured: bool = True


def plane_affine(plane: Plane) -> np.ndarray:
    """Return the affine ``(4, 4)`` to RAS of one slice by itself; its thickness is its third spacing."""
    origin = np.zeros(3) if plane.position is None else plane.position
    return _affine(plane, np.cross(plane.right, plane.down) * plane.thickness, origin)


def stack_planes(planes: Sequence[Plane]) -> tuple[list[int], np.ndarray]:
    """Order planes along their normal.

    Args:
        planes: At least two.

    Returns:
        Indices into ``planes`` by rising position along the normal (right x down), and the affine ``(4, 4)`` to RAS of
        the volume so stacked.

    Raises:
        ImageError: if the planes differ in size, spacing or orientation, have no positions, share one, leave one out,
            are unevenly spaced, or are shifted sideways (gantry tilt).
    """
    first = planes[0]
    if any(plane.size != first.size or not np.allclose(plane.spacing, first.spacing, rtol=1e-3) for plane in planes):
        raise ImageError("Its slices differ in size or pixel spacing.", "Keep only the slices of one volume.")
    if any(plane.position is None for plane in planes):
        raise ImageError(
            f"It has {len(planes)} images without positions in space, so they are no volume.", "Give one of them."
        )
    if any(max(np.abs(p.right - first.right).max(), np.abs(p.down - first.down).max()) > _ANGLE for p in planes):
        raise ImageError("Its slices have different orientations.", "Keep the slices of one, and leave out localizers.")

    normal = np.cross(first.right, first.down)
    positions = np.array([plane.position for plane in planes])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    heights, positions = heights[order], positions[order]
    steps = np.diff(heights)
    step = float(np.median(steps))
    if steps.min() < max(0.01 * step, 1e-4):
        raise ImageError(
            f"{int((steps < max(0.01 * step, 1e-4)).sum())} of its {len(planes)} slices lie where another one lies.",
            "Keep one image per position: one time point, phase or reconstruction.",
        )
    # The smallest step decides what is missing: the median is a gap itself where every second slice is gone.
    if steps.max() > 1.5 * steps.min():
        missing = int(np.maximum(np.rint(steps / steps.min()) - 1, 0).sum())
        raise ImageError(
            f"Slices are missing or unevenly spaced: distances from {steps.min():.3f} to {steps.max():.3f} mm, "
            f"about {missing} missing.",
            "Add the missing slices, or resample what there is.",
        )
    even = np.linspace(heights[0], heights[-1], len(heights))
    if np.abs(heights - even).max() > _UNEVEN * step:
        raise ImageError(
            f"Its slices are unevenly spaced ({steps.min():.3f} to {steps.max():.3f} mm).", "Resample it evenly first."
        )
    sideways = positions - positions[0] - np.outer(heights - heights[0], normal)
    if np.linalg.norm(sideways, axis=1).max() > _SHIFT * min(first.spacing):
        raise ImageError("Its slices are shifted sideways, as with a tilted gantry.", _TILT_HINT)
    distance = (heights[-1] - heights[0]) / (len(heights) - 1)
    return order.tolist(), _affine(first, normal * distance, positions[0])


def _affine(plane: Plane, across: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 0] = plane.right * plane.spacing[0]
    affine[:3, 1] = plane.down * plane.spacing[1]
    affine[:3, 2] = across
    affine[:3, 3] = origin
    return swap_ras_lps(affine)
