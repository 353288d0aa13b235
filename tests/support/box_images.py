"""Images with bright boxes, and inputs of classifiers that look for these."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.images.image import Geometry, Image

PATCHES = PatchSpec(wanted=("bright",), overlap=0.5, foreground=0.01, share=0.1)
FLAT = InputSpec((8, 8), spacing=(1.0, 1.0), patches=PATCHES)
SOLID = InputSpec((8, 8, 8), spacing=(1.0, 1.0, 1.0), patches=PATCHES)


def image_with(places: list[tuple[float, ...]], geometry: Geometry, dimension: int, edge: float = 6.0) -> Image:
    """Grey everywhere, and a bright box of ``edge`` millimetres about each place (index)."""
    array = np.full(geometry.shape, 0.1, np.float32)
    index = np.indices(geometry.shape)
    for place in places:
        box = np.ones(geometry.shape, bool)
        for axis in range(dimension):
            box &= np.abs(index[axis] - place[axis]) * geometry.spacing[axis] <= edge / 2
        array[box] = 0.9
    return Image(array[None], geometry, "boxes", dimension)


def turned(shape: tuple[int, int, int], spacing: tuple[float, ...], angles: list[float]) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = [-31.0, 12.5, 7.25]
    return Geometry(shape, affine)
