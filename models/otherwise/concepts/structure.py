"""Find the structure that a decisive region is about.

A decisive region holds what the counterfactual changes. Where a nodule grows or shrinks that is a ring about it or a
part of it, while people name the nodule. The structure is what stands out from its surroundings where the region lies.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from otherwise.concepts.neighbourhood import neighbourhood
from otherwise.images.image import Image

REACH = 5.0
"""Millimetres from the region within which the structure is looked for."""


def structure_of(image: Image, region: np.ndarray) -> np.ndarray:
    """Return the structure that a region touches.

    Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics 9, 1979) divides the region and what lies
    within ``REACH`` of it into two classes. The class that departs more from the outer rim stands out, be it bright or
    dark. Of its connected parts the one is returned that shares most with the region.

    Args:
        image: In its own unit; of several channels the mean counts.
        region: bool ``(i, j, k)`` on the image's grid, not empty.

    Returns:
        bool ``(i, j, k)``, not empty: the region itself where nothing stands out.
    """
    near = neighbourhood(image, region, REACH)
    found = np.zeros_like(region)
    found[near.box] = _standing_out(near.values, near.mask, near.spacing).reshape(found[near.box].shape)
    return found


def _standing_out(values: np.ndarray, region: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    reached = ndimage.distance_transform_edt(~region, sampling=spacing) <= REACH
    if np.ptp(values[reached]) <= 0:
        return region
    # The histogram of single precision fails where a large value varies by little.
    bright = reached & (values > threshold_otsu(values[reached].astype(np.float64)))
    dark = reached & ~bright
    rim = reached & ~ndimage.binary_erosion(reached, border_value=1)
    usual = float(np.median(values[rim if rim.any() else reached]))
    departing = max((bright, dark), key=lambda part: abs(float(values[part].mean()) - usual))
    parts, count = ndimage.label(departing)
    shared = np.bincount(parts[region], minlength=count + 1)[1:]
    return np.asarray(parts == shared.argmax() + 1) if shared.any() else region
