"""Readiness of the server, for probes, load balancers and administrators."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib.runtime.host import Host

SECONDS = 3.0
"""Seconds that each check may take."""

Ask = Callable[[], object]


class Health:
    """Checks of what the server needs to work.

    Args:
        host: The worker and its device.
        state: Folder that has to be writable.
        database: Queries the database; raises if it does not answer.
        access: Checks the authenticator; raises if nobody can log in.
    """

    def __init__(self, host: Host, state: Path, database: Ask, access: Ask = lambda: None) -> None:
        self.host = host
        self.state = state
        self.database, self.access = database, access
        # Threads of its own, so that a busy server is not taken for one whose disk or database does not answer.
        self._disk_threads = ThreadPoolExecutor(2, "otherwise-health-disk")
        self._database_threads = ThreadPoolExecutor(2, "otherwise-health-database")

    async def reasons(self) -> list[str]:
        """Return the reasons why the server cannot work, without paths; empty if it can."""
        reasons = [] if self.host.worker.alive else ["The worker takes no jobs."]
        if self.host.device_failed:
            reasons.append("The GPU has failed; start the server anew.")
        if not await _works(lambda: _write(self.state), self._disk_threads):
            reasons.append("The state folder takes no files.")
        if not await _works(self.database, self._database_threads):
            reasons.append("The database does not answer.")
        if not await _works(self.access, self._disk_threads):
            reasons.append("The file of tokens cannot be used.")
        return reasons


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"otherwise")
        file.flush()


async def _works(ask: Ask, threads: ThreadPoolExecutor) -> bool:
    """Return whether a check succeeds within ``SECONDS``; one that hangs blocks its own thread only."""
    try:
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, ask), SECONDS)
    except Exception:
        return False
    return True
