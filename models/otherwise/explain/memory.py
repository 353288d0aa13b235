"""Estimate the memory of an explanation before the work."""

from __future__ import annotations

from otherwise.errors import ImageError
from otherwise.images.formats.limits import DeclaredSize
from otherwise.images.image import Image
from otherwise.images.memory import available_bytes

BYTES_PER_VOXEL = 32
"""For each voxel and channel: the changed image, its change, three maps, and what is worked on.

Measured with the image itself in memory, in float32: 31 bytes a voxel from 64 to 256 cubed, and 32 bytes a pixel at
6000 squared. The image is counted apart, so that there is a margin of its own size.
"""
WORKSPACE = 300 * 2**20
"""Bytes that the search, the report and their libraries take for an image of any size."""


def refuse_too_large(image: Image, available: int | None = None) -> None:
    """Refuse an image whose explanation would not fit into memory; small ones are tried in any case.

    Args:
        image: What is explained, after a slice or projection was taken.
        available: Bytes; None: what this process may still take.

    Raises:
        ImageError: with the needed and the free memory, and the number of voxels that would fit.
    """
    shape = tuple(count for count in (*image.geometry.shape, image.array.shape[0]) if count > 1)
    _refuse(DeclaredSize(shape, image.array.itemsize), available)


def refuse_declared(declared: DeclaredSize, available: int | None = None) -> None:
    """Refuse from its header an image whose explanation would not fit into memory; see ``refuse_too_large``.

    Args:
        declared: What is explained, as its header says; its voxels take memory as well once they are read.
        available: Bytes; None: what this process may still take.

    Raises:
        ImageError: with the needed and the free memory, and the number of voxels that would fit.
    """
    free = available_bytes() if available is None else available
    _refuse(declared, max(0, free - declared.voxels * declared.itemsize))


def _refuse(size: DeclaredSize, available: int | None) -> None:
    free = available_bytes() if available is None else available
    needed = size.voxels * BYTES_PER_VOXEL + WORKSPACE
    if needed <= max(free, 2 * WORKSPACE):
        return
    fits = (free - WORKSPACE) // BYTES_PER_VOXEL
    raise ImageError(
        f"An explanation of {size} voxels needs about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free.",
        f"Crop or resample the image to {fits / 1e6:.1f} million voxels, or use a larger machine."
        if fits > 0
        else "Close other programs, or use a larger machine.",
    )
