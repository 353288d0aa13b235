"""Describe a region, and the structure that it touches, by intensity in its own unit, size in mm, edge and shape.

These are what radiologists' words mean. A decisive region holds what a counterfactual changes, and people name the
structure there: both are described alike. Of a region that somebody has outlined they are much the same.

The features are first-order and shape features as the Image Biomarker Standardisation Initiative defines them
(Zwanenburg et al., Radiology 295, 2020), and two of the surroundings. They are measured on the image's own voxels, not
on what the classifier sees: its intensity window would clip a calcification.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from otherwise.concepts.neighbourhood import Neighbourhood, neighbourhood
from otherwise.concepts.structure import structure_of
from otherwise.errors import OtherwiseError
from otherwise.images.image import Image

OWN_FEATURES = (
    "mean",
    "deviation",
    "low",
    "median",
    "high",
    "highest",
    "core",
    "rim",
    "surroundings",
    "contrast",
    "edge",
    "sharpness",
    "log diameter",
    "elongation",
    "flatness",
    "surface ratio",
    "roughness",
    "strands",
)
"""Names of a region's own features, in their order. Intensities are in the image's unit, lengths in mm, the rest are
ratios."""
FEATURES = (*OWN_FEATURES, *(f"structure's {name}" for name in OWN_FEATURES))
"""Names of all features: the region's own, then those of the structure that it touches."""
NEAR, FAR = 1.0, 5.0
"""Millimetres from the region at which its surroundings begin and end."""


class DescriptionError(OtherwiseError):
    """A region cannot be described, or what was said of it contradicts itself."""

    code = "region"
    status = 422


def describe_region(image: Image, mask: np.ndarray) -> np.ndarray:
    """Describe one region of an image.

    Args:
        image: In its own unit; of several channels the mean counts.
        mask: bool ``(i, j, k)`` on the image's grid.

    Returns:
        ``(len(FEATURES),)`` float32, finite.

    Raises:
        DescriptionError: if the region is empty or lies on another grid.
    """
    if mask.shape != image.geometry.shape:
        raise DescriptionError(
            f"The region lies on a grid of {mask.shape}, not {image.geometry.shape}.",
            "Resample it onto the image's grid.",
        )
    if not mask.any():
        raise DescriptionError("The region is empty.", "Draw it within the image.")
    return np.concatenate([_described(neighbourhood(image, each, FAR)) for each in (mask, structure_of(image, mask))])


def _described(near: Neighbourhood) -> np.ndarray:
    values, mask, spacing = near.values, near.mask, near.spacing
    inside = values[mask]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[(slice(1, -1),) * mask.ndim]
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    border = mask & ~ndimage.binary_erosion(mask)
    core = mask & (depth >= 0.5 * depth.max())
    ring = (outside >= NEAR) & (outside <= FAR)
    around = float(np.median(values[ring])) if ring.any() else float(np.median(values))
    middle = float(np.median(inside))
    contrast = middle - around
    steepness = _gradient(values, spacing)
    edge = float(steepness[border].mean())
    volume = mask.sum() * float(np.prod(spacing))
    dims = mask.ndim
    diameter = 2 * (volume / np.pi) ** 0.5 if dims == 2 else 2 * (3 * volume / (4 * np.pi)) ** (1 / 3)
    axes = _principal_axes(mask, spacing)
    distances = np.linalg.norm((np.argwhere(border) - np.argwhere(mask).mean(0)) * spacing, axis=1)
    brighter = values[ring] > around + 0.5 * contrast if contrast > 0 else values[ring] < around + 0.5 * contrast
    low, high, highest = np.percentile(inside, [10, 90, 99])
    found = np.array(
        [
            inside.mean(),
            inside.std(),
            low,
            middle,
            high,
            highest,
            values[core].mean(),
            values[border].mean(),
            around,
            contrast,
            edge,
            edge / max(abs(contrast), 1e-6 + 0.1 * float(values.std())),
            np.log(max(diameter, 1e-3)),
            axes[1] / axes[0],
            axes[-1] / axes[0],
            border.sum() / mask.sum() ** ((dims - 1) / dims),
            distances.std() / max(float(distances.mean()), 1e-6),
            brighter.mean() if ring.any() else 0.0,
        ],
        np.float32,
    )
    return np.nan_to_num(found)


def _gradient(values: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the gradient's magnitude in units per mm; an axis of one voxel has none."""
    parts = [
        np.gradient(values, step, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
        for axis, step in enumerate(spacing)
    ]
    return np.asarray(np.sqrt(sum(np.square(part) for part in parts)))


def _principal_axes(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the standard deviations of the region along its principal axes in mm, the longest first."""
    places = np.argwhere(mask) * spacing
    covariance = np.cov(places.T) if len(places) > 1 else np.zeros((mask.ndim, mask.ndim))
    # A voxel is an even distribution along each edge, which has a variance of its own.
    return np.sqrt(np.linalg.eigvalsh(covariance + np.diag(spacing**2) / 12)[::-1])
