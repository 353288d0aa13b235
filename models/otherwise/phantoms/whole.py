"""Phantoms of whole size, by the name of their kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from otherwise.errors import ImageError
from otherwise.phantoms.kinds import WholeKind
from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.whole_ct import WholeCtSettings, whole_cts
from otherwise.phantoms.whole_mammogram import WholeMammogramSettings, whole_mammograms


@dataclass(frozen=True)
class Patch:
    """The patches that a classifier of such images is made for.

    Attributes:
        size: Voxels.
        spacing: Millimetres of a voxel.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]


PATCHES = {
    WholeKind.mammogram: Patch((96, 96), (0.5, 0.5)),
    WholeKind.ct: Patch((32, 32, 24), (1.0, 1.0, 1.25)),
}


def whole_phantoms(
    kind: WholeKind, seed: int, count: int, size: tuple[int, ...] | None = None, start: int = 0
) -> Iterator[WholePhantom]:
    """Draw many; the n-th depends on ``seed`` and ``n`` alone.

    Args:
        kind: What to draw.
        seed: Names the series.
        count: How many.
        size: Voxels; None: as the kind's settings say.
        start: Number of the first one.

    Raises:
        ImageError: if nothing can be drawn at this size.
    """
    match kind, size:
        case WholeKind.mammogram, None:
            return whole_mammograms(seed, count, WholeMammogramSettings(), start)
        case WholeKind.mammogram, (i, j):
            return whole_mammograms(seed, count, WholeMammogramSettings(size=(i, j)), start)
        case WholeKind.ct, None:
            return whole_cts(seed, count, WholeCtSettings(), start)
        case WholeKind.ct, (i, j, k):
            return whole_cts(seed, count, WholeCtSettings(size=(i, j, k)), start)
    raise ImageError(f"A {kind} has no size {size}.", "Give one number for each axis.")
