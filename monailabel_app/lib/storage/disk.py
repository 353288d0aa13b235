"""Room on a disk that uploads and explanations leave for everything else."""

from __future__ import annotations

import shutil
from pathlib import Path

LEAST_FREE, LEAST_FREE_SHARE = 2 * 2**30, 0.1
"""Bytes, or share of the disk if that is less, that stay free."""


def leaves_room(folder: Path | str, more: int = 0) -> bool:
    """Return whether the disk of a folder has enough room after so many more bytes."""
    disk = shutil.disk_usage(folder)
    return disk.free - more >= min(LEAST_FREE, LEAST_FREE_SHARE * disk.total)
