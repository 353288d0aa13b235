"""Estimate the grain of images."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LOOKED_AT = 256
"""Maximum number of images in the estimate, spread evenly over all of them."""
FLAT = 0.4
"""Quantile of the gradient's magnitude up to which a voxel counts as flat."""
LEAST, MOST = 0.03, 0.1
"""Bounds of the estimate in [-1, 1]: images without any grain (drawn ones), and images that are nothing else. Less than
the least has not been tried."""


def measured_grain(images: np.ndarray) -> float:
    """Estimate the standard deviation of the images' grain, as images in [-1, 1] have it.

    The Laplacian of white noise of variance ``v`` has the variance ``(4 n**2 + 2 n) v`` in ``n`` dimensions, and little
    else is in it at flat places (Immerkaer, "Fast noise variance estimation", 1996). The median over images of the
    median absolute deviation, so that few edges and few images do not count.

    Args:
        images: ``(n, channels, *size)`` float32 in [0, 1].

    Returns:
        Between ``LEAST`` and ``MOST``.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, LOOKED_AT).round().astype(int))
    found = [_grain(2 * np.asarray(channel, np.float32) - 1) for index in chosen for channel in images[index]]
    return float(np.clip(np.median(found), LEAST, MOST))


def _grain(image: np.ndarray) -> float:
    dims = image.ndim
    inside = np.abs(image) < 1  # what an intensity window has clipped has no grain
    if not inside.any():
        return 0.0
    edges = ndimage.gaussian_gradient_magnitude(image, 1.0)
    flat = inside & (edges <= np.quantile(edges[inside], FLAT))
    return float(1.4826 * np.median(np.abs(ndimage.laplace(image)[flat])) / np.sqrt(4 * dims**2 + 2 * dims))
