"""What work costs: seconds, and the memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Do the work; return its result and its wall-clock seconds."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def resident_gib() -> float:
    """Return the memory of this process that is in RAM now, in GiB (2 ** 30 bytes)."""
    return float(psutil.Process().memory_info().rss / 2**30)
