"""Whether the server can work: what a probe, a balancer or an administrator asks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib.runtime.host import Host

SECONDS = 3.0
"""How long one thing may take to answer before it counts as away."""

Ask = Callable[[], object]


class Health:
    """What the server needs to work.

    Args:
        host: The worker and its device.
        state: Folder that has to take files.
        database: Asks the database anything; raises if it is away.
        access: Looks at what users are known by; raises if nobody can be let in.
    """

    def __init__(self, host: Host, state: Path, database: Ask, access: Ask = lambda: None) -> None:
        self.host = host
        self.state = state
        self.database, self.access = database, access
        # Threads of its own: a server that is busy is not one whose disk or database is away.
        self._disk_threads = ThreadPoolExecutor(2, "otherwise-health-disk")
        self._database_threads = ThreadPoolExecutor(2, "otherwise-health-database")

    async def reasons(self) -> list[str]:
        """Why the server cannot take work, in words without paths; empty: it can."""
        said = [] if self.host.worker.alive else ["The worker takes no jobs."]
        if self.host.device_failed:
            said.append("The GPU has failed; start the server anew.")
        if not await _works(lambda: _write(self.state), self._disk_threads):
            said.append("The state folder takes no files.")
        if not await _works(self.database, self._database_threads):
            said.append("The database does not answer.")
        if not await _works(self.access, self._disk_threads):
            said.append("The file of tokens cannot be used.")
        return said


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"otherwise")
        file.flush()


async def _works(ask: Ask, threads: ThreadPoolExecutor) -> bool:
    """Return whether something answers without an error within ``SECONDS``; if it hangs, it keeps its own thread."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, ask), SECONDS)
    except Exception:
        return False
    return True
