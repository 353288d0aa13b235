"""Whether the server can work: what a probe, a balancer or an administrator asks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from anyio import move_on_after, to_thread

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
    """

    def __init__(self, host: Host, state: Path, database: Ask) -> None:
        self.host = host
        self.state = state
        self.database = database

    async def reasons(self) -> list[str]:
        """Why the server cannot take work, in words without paths; empty: it can."""
        said = [] if self.host.worker.alive else ["The worker takes no jobs."]
        if self.host.device_failed:
            said.append("The GPU has failed; start the server anew.")
        if not await _works(lambda: _write(self.state)):
            said.append("The state folder takes no files.")
        if not await _works(self.database):
            said.append("The database does not answer.")
        return said


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"otherwise")
        file.flush()


async def _works(ask: Ask) -> bool:
    with move_on_after(SECONDS):
        try:
            # A disk or a database that hangs keeps its thread, and nobody else.
            await to_thread.run_sync(ask, abandon_on_cancel=True)
        except Exception:
            return False
        return True
    return False
