"""How a server stops: it takes no more work, and lets what runs come to its end."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError as DroppedError

from lib.worker import Cancelled, Worker
from otherwise.errors import CancelledError

LOOK_SECONDS = 0.05


def let_finish(worker: Worker, seconds: float) -> bool:
    """Wait until the job that runs has ended; none that waits begins any more.

    A last job goes before all that wait, and stays until the worker is closed.

    Args:
        worker: What runs.
        seconds: How long to wait at most.

    Returns:
        Whether nothing was interrupted.
    """
    reached, ended = threading.Event(), threading.Event()

    def stay(cancelled: Cancelled) -> None:
        reached.set()
        while not cancelled():
            ended.wait(LOOK_SECONDS)

    try:
        worker.submit(stay, urgent=True)
    except (CancelledError, DroppedError):
        return True  # it is closed already
    return reached.wait(seconds)
