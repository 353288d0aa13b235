"""SimpleITK images, for tests of their readers."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from otherwise.images.image import Image
from otherwise.images.itk import swap_ras_lps


def to_itk(image: Image) -> sitk.Image:
    """Convert to a 3-D SimpleITK image; channels become vector components. The axes have to be at right angles."""
    affine = swap_ras_lps(image.geometry.affine)
    array = image.array.T  # (k, j, i, channels), as SimpleITK counts
    vector = image.array.shape[0] > 1
    result = sitk.GetImageFromArray(np.ascontiguousarray(array if vector else array[..., 0]), isVector=vector)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    result.SetSpacing(spacing.tolist())
    result.SetOrigin(affine[:3, 3].tolist())
    result.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return result
