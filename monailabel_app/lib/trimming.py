"""Memory that work needed for a moment goes back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress


def trimmer() -> Callable[[], object]:
    """Find what gives free memory back; does nothing where the C library is not glibc.

    glibc keeps a pool for each of many threads, and pools that are used in turns by large and small requests only ever
    grow (``man 3 malloc_trim``): in ten minutes with eight people a tenth was added, of which nothing was in use.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: Windows has no library of the process itself
        trim = ctypes.CDLL(None).malloc_trim
        return lambda: trim(0)
    return lambda: None
