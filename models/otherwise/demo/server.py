"""The demo's server: ``otherwise serve`` in a process of its own, which never outlives the demo."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from otherwise.demo.client import session
from otherwise.demo.setup import DemoError, Setup

START_SECONDS = 180.0


class ServerProcess:
    """``otherwise serve`` in a process of its own.

    Args:
        process: That process.
        url: Where it will answer.
        log: File that it writes to.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self._begun = time.monotonic()

    def wait_until_ready(self) -> float:
        """Ask until it can work.

        Returns:
            Seconds since it was started.

        Raises:
            DemoError: with the last line of its log if it stops, or if it takes too long.
        """
        asking = session()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if asking.get(f"{self.url}/otherwise/health/ready", timeout=5).ok:
                    return time.monotonic() - self._begun
            except requests.RequestException:
                pass
            time.sleep(0.05)
        raise DemoError(f"The server did not start within {START_SECONDS:.0f} s.", f"Its log is {self.log}.")

    def check_alive(self) -> None:
        """Raise a DemoError with the last line of the log if the server has stopped."""
        if self.process.poll() is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
            raise DemoError(f"The server stopped: {lines[-1].removeprefix('otherwise: ')}", f"Its log is {self.log}.")

    def serve_on(self) -> None:
        """Wait until Ctrl-C.

        Raises:
            DemoError: if the server stops by itself.
        """
        try:
            self.process.wait()
        except KeyboardInterrupt:
            return
        self.check_alive()

    def stop(self) -> None:
        """End it, gently first."""
        if self.process.poll() is not None:
            return
        self._end(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self._end(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
            self.process.wait()

    def _end(self, number: int) -> None:
        if os.name == "nt":
            self.process.terminate()
        else:
            # The group includes the processes that the server has started.
            os.killpg(self.process.pid, number)


@contextmanager
def server(setup: Setup, studies: Path, start: Callable[..., Any] = subprocess.Popen) -> Iterator[ServerProcess]:
    """Start a server on a loopback port, and stop it in the end, also after an error.

    Args:
        setup: The models that it serves, and the folder for its state and its log.
        studies: Folder of its images.
        start: Starts a process as ``subprocess.Popen`` does.

    Yields:
        The server, which may not be ready yet.
    """
    port = setup.port or free_port()
    log = setup.out / "server.log"
    secret = secrets.token_urlsafe(32)
    options = {
        "--studies": studies,
        "--classifier": setup.classifier,
        "--agent": setup.agent,
        "--device": setup.device,
        "--state": setup.out / "state",
        "--port": port,
    }
    command = [sys.executable, "-c", "from otherwise.cli import main; main()", "serve"]
    command += [str(word) for option in options.items() for word in option]
    # A group of its own: Ctrl-C is for the demo, which then stops the server in good order.
    group: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        group = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    with log.open("wb") as file:
        process = start(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OTHERWISE_SECRET": secret},
            **group,
        )
    running = ServerProcess(process, f"http://127.0.0.1:{port}/token/{secret}", log)
    try:
        yield running
    finally:
        running.stop()


def free_port() -> int:
    """Find a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
