"""Shared parts of chest CT phantoms: CT numbers, places of voxels, blur and noise of the scanner."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.images.image import Geometry

LUNG, FAT, SOFT_TISSUE, BONE, GROUND_GLASS, METAL, AIR = -860.0, -90.0, 40.0, 350.0, -520.0, 1500.0, -1000.0
"""Typical CT numbers (HU)."""

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]


def voxel_places(size: Size, spacing: Spacing) -> np.ndarray:
    """Return the millimetres ``(i, j, k, 3)`` from the middle of the volume."""
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step) for n, step in zip(size, spacing, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def axial(size: Size, spacing: Spacing) -> Geometry:
    """Return axial slices as DICOM and ITK lay them (LPS), in RAS."""
    i, j, k = spacing
    affine = np.diag([-i, -j, k, 1.0])
    affine[:3, 3] = [60.0, 20.0, -150.0]
    return Geometry(size, affine)


def quantum_noise(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Draw noise of 15 to 35 HU, correlated within a slice as by reconstruction."""
    noise = ndimage.gaussian_filter(rng.standard_normal(size, dtype=np.float32), (0.6, 0.6, 0))
    noise *= float(rng.uniform(15, 35)) / noise.std()
    return noise


def blurred(voxels: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Return what the scanner resolves of ``(i, j, k)`` HU: 0.45 mm within a slice, 0.5 mm across."""
    return np.asarray(
        ndimage.gaussian_filter(voxels, [0.45 / spacing[0], 0.45 / spacing[1], 0.5 / spacing[2]], truncate=3)
    )


def hounsfield(voxels: np.ndarray) -> np.ndarray:
    """Convert to the values that a scanner stores: int16 from -1024 to 3071."""
    return np.round(np.clip(voxels, -1024, 3071)).astype(np.int16)
