"""A server on this machine: find it in a Python environment, start it on a free port, watch it and stop it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable

from ..background.job import Timer
from ..background.signal import Signal
from ..client.errors import ServerError
from .settings import Settings

ENVIRONMENT, STUDIES = "Otherwise/environment", "Otherwise/studies"
TICK_MILLISECONDS = 250
GRACE_SECONDS = 3
"""How long to wait for a server to stop before it is killed."""
SERVING = re.compile(r"^Serving .* at (http\S+)", re.MULTILINE)
LONGEST_LOG = 20_000
"""Characters at the end of the log that are shown."""
COMMANDS = ("bin/otherwise", "Scripts/otherwise.exe", "Scripts/otherwise")
"""Where an environment keeps its commands, by platform."""


def command_of(environment: Path) -> Path:
    """Return the command ``otherwise`` of a Python environment.

    Raises:
        ServerError: ``local`` if it is not installed there; says how to install it.
    """
    for name in COMMANDS:
        if (environment / name).is_file():
            return environment / name
    if environment.is_file() and environment.stem == "otherwise":
        return environment
    if not environment.is_dir():
        raise ServerError("local", f"There is no folder {environment}.", "Choose the folder of a Python environment.")
    windows = (environment / "Scripts").is_dir()
    python = environment / ("Scripts/python.exe" if windows else "bin/python")
    if not python.exists():
        raise ServerError(
            "local", f"{environment} is no Python environment.", f"Make one: python -m venv {environment}"
        )
    hint = f"Install it there: {python} -m pip install slicer-otherwise"
    raise ServerError("local", f"Otherwise is not installed in {environment}.", hint)


class LocalServer:
    """Starts, watches and stops ``otherwise serve``.

    Signals: ``changed()`` when its state is new; ``ready(address)``; ``failed(error)`` where it did not start.

    Args:
        settings: Remembers environment and studies.
        new_timer: Makes timers of the main thread.
        environment: Environment variables for the server; None: those of this process. Slicer's own variables would
            mislead another Python.
    """

    def __init__(
        self, settings: Settings, new_timer: Callable[[], Timer], environment: dict[str, str] | None = None
    ) -> None:
        self.changed, self.ready, self.failed = Signal(), Signal(), Signal()
        self.settings = settings
        self.address = ""
        self._timer, self._environment = new_timer(), environment
        self._process: Any = None
        self._folder: Any = None

    @property
    def running(self) -> bool:
        """Whether there is a process, ready or not."""
        return self._process is not None

    @property
    def log(self) -> str:
        """The end of the server's log."""
        path = self._log_path
        return path.read_text(encoding="utf-8", errors="replace")[-LONGEST_LOG:] if path and path.is_file() else ""

    def start(self, environment: str, studies: str = "") -> None:
        """Start a server; ``ready`` or ``failed`` follows.

        Args:
            environment: Folder of the Python environment in which ``otherwise`` is installed.
            studies: Folder of images; empty: none.
        """
        if self.running:
            return
        self.settings.set(ENVIRONMENT, environment)
        self.settings.set(STUDIES, studies)
        try:
            command = command_of(Path(environment).expanduser())
            self._launch(command, Path(studies).expanduser() if studies else None)
        except (ServerError, OSError) as error:
            self._clean_up()
            self.failed.emit(error)
            return
        self._timer.start(TICK_MILLISECONDS, self._tick)
        self.changed.emit()

    def stop(self) -> None:
        """Stop the server, and wait for its end."""
        self._timer.stop()
        process, self._process, self.address = self._process, None, ""
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
        self._clean_up()
        self.changed.emit()

    def _launch(self, command: Path, studies: Path | None) -> None:
        if studies is not None and not studies.is_dir():
            raise ServerError("local", f"There is no folder {studies}.", "Choose the folder that holds the images.")
        self._clean_up()
        self._folder = Path(tempfile.mkdtemp(prefix="otherwise-server-"))
        if studies is None:
            studies = self._folder / "studies"
            studies.mkdir()
        arguments = ["serve", "--studies", str(studies), "--port", "0", "--grace", str(GRACE_SECONDS)]
        with (self._folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [str(command), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
            )

    def _tick(self) -> None:
        ended = self._process.poll() if self._process is not None else 0
        if ended is not None:
            lines = [line for line in self.log.splitlines() if line.strip()]
            last_line = lines[-1] if lines else "It wrote nothing."
            self._timer.stop()
            self._process, self.address = None, ""
            self.changed.emit()
            self.failed.emit(ServerError("local", f"The local server ended: {last_line}", "See its log."))
        elif not self.address:
            found = SERVING.search(self.log)
            if found:
                self.address = found.group(1)
                self.changed.emit()
                self.ready.emit(self.address)

    @property
    def _log_path(self) -> Path | None:
        return self._folder / "log.txt" if self._folder is not None else None

    def _clean_up(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
