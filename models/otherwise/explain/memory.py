"""How much memory an explanation takes, asked before the work."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from otherwise.errors import ImageError
from otherwise.images.image import Image

BYTES_PER_VOXEL = 32
"""For each voxel and channel: the changed image, its change, three maps, and what is worked on; measured."""
WORKSPACE = 300 * 2**20
"""Bytes: what the search, the report and their libraries take whatever the image's size."""
_CGROUP = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_UNLIMITED = 2**60


def refuse_too_large(image: Image, available: int | None = None) -> None:
    """Refuse an image whose explanation would not fit into memory; small ones are tried in any case.

    Args:
        image: What is explained, after a slice or projection was taken.
        available: Bytes; None: what this process may still take.

    Raises:
        ImageError: with what is needed, what there is, and how many voxels would fit.
    """
    free = available_bytes() if available is None else available
    voxels = image.array.size
    needed = voxels * BYTES_PER_VOXEL + WORKSPACE
    if needed <= max(free, 2 * WORKSPACE):
        return
    fits = (free - WORKSPACE) // BYTES_PER_VOXEL
    shape = " x ".join(str(count) for count in image.geometry.shape if count > 1)
    raise ImageError(
        f"An explanation of {shape} voxels needs about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free.",
        f"Crop or resample the image to {fits / 1e6:.1f} million voxels, or use a larger machine."
        if fits > 0
        else "Close other programs, or use a larger machine.",
    )


def available_bytes() -> int:
    """Return the bytes that this process may still take: of the machine, of its container, and by its own limit."""
    found = [int(psutil.virtual_memory().available)]
    for limit, usage in _CGROUP:
        with suppress(OSError, ValueError):
            most = int(Path(limit).read_text(encoding="ascii"))
            if most < _UNLIMITED:
                used = int(Path(usage).read_text(encoding="ascii")) - _reclaimable(Path(usage).with_name("memory.stat"))
                found.append(max(0, most - used))
    with suppress(ImportError, OSError):
        import resource  # not on Windows

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 < soft < _UNLIMITED:
            found.append(max(0, soft - int(psutil.Process().memory_info().vms)))
    return min(found)


def _reclaimable(stat: Path) -> int:
    """Return the bytes of a container's memory that hold copies of files and are given up when they are needed."""
    with suppress(OSError, ValueError):
        for line in stat.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
