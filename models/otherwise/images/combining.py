"""Combine images of one patient as channels of one image, such as the sequences of an MR examination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.images.resampling import resample


def as_channels(images: Sequence[Image], id: str | None = None) -> Image:
    """Resample images onto the grid of the first one, and stack them as channels.

    They must share the patient space; nothing is registered here.

    Args:
        images: At least two, of one channel each.
        id: Name of the result; by default that of the first.

    Returns:
        float32 ``(channels, i, j, k)`` on the grid of the first; uncovered voxels get the least value of
        their image.

    Raises:
        ImageError: if there are fewer than two, one has channels already, or they lie apart in space.
    """
    if len(images) < 2:
        raise ImageError("One image has no others to be combined with.", "Give two or more.")
    first = images[0]
    channels = []
    for image in images:
        if image.array.shape[0] != 1 or image.dimension != first.dimension:
            raise ImageError(
                f"Image {image.id} has {image.array.shape[0]} channels, {image.dimension}-D.",
                f"Give images of one channel, {first.dimension}-D as the first one.",
            )
        lowest = float(image.array.min())
        onto = image if image.geometry.same_as(first.geometry) else resample(image, first.geometry, outside=lowest)
        if onto is not image and onto.array.min() == onto.array.max():
            raise ImageError(
                f"Image {image.id} lies elsewhere in space than {first.id}.", "Bring them into one space first."
            )
        channels.append(onto.array.astype(np.float32))
    return first.with_array(np.concatenate(channels), id)
