"""How much memory this process may still take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_CGROUP = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_UNLIMITED = 2**60


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
