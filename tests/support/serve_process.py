"""Run ``otherwise serve`` in a process of its own, with models that train in a second."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from support import forked_python

SECONDS = 120.0
ADDRESS = re.compile(r"at (https?://\S+) \(")


@dataclass(frozen=True)
class Process:
    """A running server.

    Attributes:
        url: Its address.
        log: All that it printed so far, also as standard error.
        process: It.
    """

    url: str
    log: Path
    process: subprocess.Popen[str] | forked_python.ForkedProcess

    def get(self, address: str, **more: object) -> requests.Response:
        return requests.get(self.url + address, timeout=SECONDS, **more)  # type: ignore[arg-type]

    def terminate(self, sig: int = signal.SIGTERM) -> None:
        """Tell it to stop."""
        self.process.send_signal(sig)


@contextmanager
def serving(folder: Path, *words: object) -> Iterator[Process]:
    """Start a server, wait until it says where it serves, and stop it if it still runs.

    Args:
        folder: For its log.
        words: What follows ``otherwise serve --port 0``.
    """
    log = folder / "server.log"
    command = [sys.executable, "-m", "otherwise", "serve", "--port", "0", *map(str, words)]
    with log.open("w") as file:
        process = forked_python.start(command, stdout=subprocess.PIPE, stderr=file, text=True)
        try:
            assert process.stdout
            heard = ""
            while not (address := ADDRESS.search(heard)):
                line = process.stdout.readline()
                assert line, log.read_text()
                heard += line
            yield Process(address[1], log, process)
        finally:
            process.kill()
            process.wait(SECONDS)
