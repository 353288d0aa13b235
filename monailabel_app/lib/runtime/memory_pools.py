"""Return memory to the system after work, and keep few pools and kernels."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress

POOLS = 2
"""Enough for few threads that allocate much at the same time; glibc would take eight for each core."""
_M_ARENA_MAX = -8


PRIMITIVES = "256"
"""Kernels that oneDNN caches, one for each layer and batch size: as many as explanations use again and again. Its
default of 1024 is reached in the first minutes and takes tens of MiB."""


def share_pools() -> None:
    """Let all threads share ``POOLS`` pools of memory; does nothing where the C library is not glibc.

    Answers come from dozens of threads. What one of them frees stays in its pool, where no other finds it
    (``man 3 mallopt``, ``M_ARENA_MAX``).
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, POOLS)


def keep_few_kernels() -> None:
    """Bound what PyTorch's kernels for CPUs keep; has to be called before the first network runs.

    https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PRIMITIVES)


def trimmer() -> Callable[[], object]:
    """Return a function that gives free memory back to the system; it does nothing where the C library is not glibc.

    glibc keeps a pool for each of many threads, and pools that are used in turns by large and small requests only ever
    grow (``man 3 malloc_trim``): in ten minutes with eight people a tenth was added, of which nothing was in use.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: Windows has no library of the process itself
        trim = ctypes.CDLL(None).malloc_trim
        return lambda: trim(0)
    return lambda: None
