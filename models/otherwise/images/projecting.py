"""Project a volume to one plane, for a 2-D classifier."""

from __future__ import annotations

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.kinds import Projection


def project(image: Image, how: Projection) -> Image:
    """Project a volume along k.

    Args:
        image: A volume.
        how: How the voxels along k are combined.

    Returns:
        A 2-D image at the position of the middle slice; float32 for a mean, else of the volume's type.

    Raises:
        ImageError: if there is one slice only.
    """
    count = image.geometry.shape[2]
    if count == 1:
        raise ImageError(f"Image {image.id} is one plane already.", "Leave the projection out.")
    if how is Projection.mean:
        flat = image.array.mean(axis=3, keepdims=True, dtype=np.float64).astype(np.float32)
    else:
        flat = (np.max if how is Projection.max else np.min)(image.array, axis=3, keepdims=True)
    return Image(np.ascontiguousarray(flat), image.geometry.slice(count // 2), image.id, 2, image.modality, image.unit)
