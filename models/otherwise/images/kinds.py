"""Names that people choose by; apart, so that the command line starts quickly."""

from __future__ import annotations

from enum import StrEnum


class Projection(StrEnum):
    """What becomes of voxels that lie behind each other."""

    max = "max"
    mean = "mean"
    min = "min"
