"""Ask by region: which units answer to a part of an image?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.concepts.units import UnitError

NAMING_OVERLAP = 0.2
"""Units that overlap a named region by more than this take its name (Lu & Perer, arXiv 2210.08979)."""


LEAST_REGIONS = 20
"""With fewer regions it is unknown which overlap is much for a unit: ``NAMING_OVERLAP`` holds for all."""
ANSWERED = 0.9
"""Share of the regions to which some unit is to answer."""
QUANTILES = (0.995, 0.99, 0.98, 0.96, 0.93, 0.9, 0.85, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class UnitMatch:
    """A unit that answers to a region.

    Attributes:
        unit: Its name.
        index: Its place in ``UnitTable.names``.
        overlap: Intersection over union of its mask with the region, in (0, 1], at the level that fits best.
    """

    unit: str
    index: int
    overlap: float


def overlaps(levels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return the intersection over union (Jaccard 1901) of each unit's mask with a region, at the level that fits best.

    Args:
        levels: ``(units, *size)``: uint8, see ``UnitMaps.levels``, or bool: masks of one level.
        region: bool ``size``.

    Returns:
        ``(units,)`` in [0, 1].
    """
    return _by_level(levels, region).max(axis=0)


def best_mask(levels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return the mask of one unit, bool ``size``, at the level that fits a region best.

    Args:
        levels: ``size``, see ``overlaps``.
        region: bool ``size``.
    """
    return np.asarray(levels > int(_by_level(levels[None], region)[:, 0].argmax()))


def _by_level(levels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return intersection over union ``(levels, units)``, the widest masks first."""
    flat, inside = levels.reshape(len(levels), -1), region.ravel()
    within, size, rows = flat[:, inside], np.count_nonzero(inside), []
    for level in range(max(1, int(flat.max(initial=0)))):
        both = np.count_nonzero(within > level, axis=1)
        either = np.count_nonzero(flat > level, axis=1) + size - both
        rows.append(both / np.maximum(either, 1))
    return np.stack(rows)


def matching_units(
    levels: np.ndarray, names: Sequence[str], region: np.ndarray, threshold: float = NAMING_OVERLAP
) -> list[UnitMatch]:
    """Return the units whose masks overlap a region, best first.

    Args:
        levels: ``(units, *size)``, see ``UnitMaps.levels``.
        names: One for each unit.
        region: bool ``size``.
        threshold: Least overlap, exclusive; 0: all that overlap at all.

    Raises:
        UnitError: if the region is empty or lies on another grid.
    """
    if region.shape != levels.shape[1:]:
        raise UnitError(f"The region lies on a grid of {region.shape}, not {levels.shape[1:]}.", "Bring it onto one.")
    if not region.any():
        raise UnitError("The region is empty.", "Draw it where the classifier looks.")
    found = overlaps(levels, region)
    order = np.argsort(-found, kind="stable")
    return [UnitMatch(names[n], int(n), float(found[n])) for n in order if found[n] > threshold]


def answering_limits(found: np.ndarray) -> np.ndarray:
    """Return the overlap from which on each unit answers: much for this unit, however small its masks are.

    It is a quantile of the unit's own overlaps with all regions, the highest one at which some unit answers to 90 % of
    the regions: one limit for all leaves most regions without an answer.

    Args:
        found: ``(regions, units)`` in [0, 1], see ``overlaps``.

    Returns:
        ``(units,)``, exclusive.
    """
    if len(found) < LEAST_REGIONS:
        return np.full(found.shape[1], NAMING_OVERLAP)
    limits = np.zeros(found.shape[1])
    for quantile in QUANTILES:
        limits = np.quantile(found, quantile, axis=0)
        if (found > limits).any(axis=1).mean() >= ANSWERED:
            break
    return np.asarray(limits)
