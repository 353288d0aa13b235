"""Round voxels to a step so that they compress well: trailing zero bits of floats take little space."""

from __future__ import annotations

import numpy as np

LEVELS = 1024
"""Steps within a range of values: four for each grey level of a screen."""


def step_within(width: float, levels: int = LEVELS) -> float:
    """Return the largest power of two that is at most ``width / levels``; sums of such steps are exact in float32.

    Args:
        width: Width of the range of values, above 0; 0: 1 is returned.
        levels: At least so many steps lie in the range.
    """
    return float(2.0 ** np.floor(np.log2(width / levels))) if width > 0 else 1.0


def round_in_place(array: np.ndarray, step: float) -> np.ndarray:
    """Round a float array to multiples of ``step`` without a copy, and return it."""
    np.divide(array, step, out=array)
    np.rint(array, out=array)
    np.multiply(array, step, out=array)
    array += 0.0  # -0.0 becomes 0.0
    return array


def rounded_map(array: np.ndarray) -> np.ndarray:
    """Round a signed float map in place to :data:`LEVELS` steps of its largest magnitude, and return it."""
    largest = max(float(array.max()), -float(array.min()))
    return round_in_place(array, step_within(largest)) if largest > 0 else array
