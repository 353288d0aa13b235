"""File permissions that hold for root as well, so that tests of refused files run for everybody."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_OVERRIDES = 1 << 1 | 1 << 2 | 1 << 3
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER of Linux's capabilities(7)."""


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """Take root's right to ignore file permissions from this thread, until the block ends."""
    if sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    rights = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    assert libc.capget(header, rights) == 0, os.strerror(ctypes.get_errno())
    effective = rights[0]
    rights[0] = effective & ~_OVERRIDES
    assert libc.capset(header, rights) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        rights[0] = effective
        assert libc.capset(header, rights) == 0, os.strerror(ctypes.get_errno())
