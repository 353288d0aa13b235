"""Orderly shutdown: after SIGTERM the running job may end, Ctrl-C stops it; the exit code is 0 in both cases."""

from __future__ import annotations

import math
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError as DroppedError
from contextlib import suppress
from types import FrameType

import uvicorn

from lib.runtime.connections import PatientProtocol, bound_connections
from lib.runtime.stock_server import stock_server
from lib.runtime.worker import Cancelled, Worker
from otherwise.errors import CancelledError

LOOK_SECONDS = 0.05
SWITCH_SECONDS = 0.0003
CLOSING_SECONDS = 10
"""Seconds that threads may take to end."""
MOST_HEAD = 32 * 1024
"""Bytes of a request's head."""
ACCEPTED_AT_ONCE, WAITING_AT_THE_DOOR = 32, 1024
"""Connections that are accepted before anything else has its turn, and that the system lets wait for it."""
LAST_WORDS_SECONDS = 0.5
"""How long answers may take to be sent once all work has ended; streams are broken off then."""

Close = Callable[[float], None]
"""Ends all work; takes the seconds that the running job still has."""


class Server(uvicorn.Server):
    """Ends all work while uvicorn, which accepts no further connection, waits for the answers.

    Args:
        config: Uvicorn's own.
        close: Ends all work.
        grace: Seconds that a running job still has after SIGTERM.
    """

    def __init__(self, config: uvicorn.Config, close: Close, grace: float) -> None:
        super().__init__(config)
        self.close, self.grace = close, grace
        self._closing = threading.Lock()
        self._closed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; asyncio has one number for the connections that wait and for those that it accepts in one go."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(WAITING_AT_THE_DOOR)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; called by the signal."""
        super().handle_exit(sig, frame)
        seconds = self.grace if sig == signal.SIGTERM else 0.0
        threading.Thread(target=self._end, args=(seconds,), daemon=True).start()

    def _end(self, seconds: float) -> None:
        self.finish(seconds)
        time.sleep(LAST_WORDS_SECONDS)
        self.force_exit = True

    def finish(self, seconds: float) -> None:
        """End all work once; concurrent callers wait for it."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self.close(seconds)


def serve(door: socket.socket, close: Close, grace: float, **settings: object) -> None:
    """Run MONAI Label's server on a listening socket until it is told to stop.

    Args:
        door: The socket.
        close: Ends all work.
        grace: Seconds that a running job still has after SIGTERM.
        **settings: Further settings of uvicorn.
    """
    app = stock_server()
    bound_connections()
    # The event loop's thread waits so long for each thread that computes in Python.
    sys.setswitchinterval(SWITCH_SECONDS)
    PatientProtocol.trust(settings.get("forwarded_allow_ips", ()))  # type: ignore[arg-type]
    patience = math.ceil(grace + CLOSING_SECONDS)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        backlog=ACCEPTED_AT_ONCE,
        h11_max_incomplete_event_size=MOST_HEAD,
        timeout_graceful_shutdown=patience,
        **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    # uvicorn raises the signal again at its end, which would end the process before our last lines.
    signal.signal(signal.SIGTERM, lambda sig, frame: None)
    server = Server(config, close, grace)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[door])
    server.finish(0.0)


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
