"""Start Python processes in a tenth of a second, as forks of one that has imported PyTorch, MONAI and MONAI Label.

Importing them takes some eight seconds of processor time. A fork server imports them once for all pytest workers, and
every server and command under test is a fork of it: a process of its own, with its own arguments, environment,
folder, output and signals. Where there is no fork server (Windows, macOS), ordinary processes take its place.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

AVAILABLE = sys.platform == "linux"
PRELOADED = ["support.lean_monai", "monailabel.app", "otherwise.explain.explainer", "otherwise.cli.serve"]
OWN_SETTINGS = ("monailabel", "lib")
"""Packages that read the environment when they are imported: each process imports them anew."""

SHARED = "OTHERWISE_TESTS_FORK_SERVER"
"""Variable of the environment with the address of the fork server that pytest workers share."""

REPOSITORY = Path(__file__).resolve().parents[2]


def start(command: list[Any], **options: Any) -> subprocess.Popen[Any] | ForkedProcess:
    """Start ``[sys.executable, "-m" or "-c", ...]`` as ``subprocess.Popen`` does, without its imports if possible."""
    if AVAILABLE:
        return ForkedProcess([str(word) for word in command], **options)
    return subprocess.Popen(command, **options)


def run(command: list[Any], timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of Python to its end and return what it printed.

    Args:
        command: See ``start``.
        timeout: Seconds.
        options: As ``env`` of ``ForkedProcess``.

    Raises:
        subprocess.TimeoutExpired: if it takes longer than ``timeout`` seconds; it is killed.
    """
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(command, process.wait(), out, err)


def share_fork_server() -> None:
    """Start the fork server of all processes that this one starts, such as pytest workers, unless there is one."""
    if AVAILABLE and SHARED not in os.environ and sys.version_info < (3, 14):  # since 3.14 clients need a key
        _context()
        multiprocessing.forkserver.ensure_running()
        os.environ[SHARED] = str(multiprocessing.forkserver._forkserver._forkserver_address)  # type: ignore[attr-defined]


def _use_shared_fork_server() -> None:
    """Use the shared fork server, if there is one, instead of starting one for this process."""
    server: Any = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    if SHARED in os.environ and server._forkserver_address is None:
        server._forkserver_address = os.environ[SHARED]
        server._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)  # the process that started it keeps it alive
        server.ensure_running = multiprocessing.resource_tracker.ensure_running


def _context() -> multiprocessing.context.ForkServerContext:
    """Return the way to start forks of a process that has imported ``PRELOADED``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class ForkedProcess:
    """A forked process with the part of ``subprocess.Popen`` that tests use.

    Args:
        command: ``[sys.executable, "-m", module, ...]`` or ``[sys.executable, "-c", code, ...]``.
        stdin: Nothing can be sent to it.
        stdout: ``subprocess.PIPE``, a file, or None for our own.
        stderr: The same, or ``subprocess.STDOUT``.
        env: Its environment; ours if None.
        cwd: Its folder; ours if None.
        text: Whether pipes are read as text.
        start_new_session: Whether it leads a group of processes of its own.
    """

    def __init__(
        self,
        command: list[str],
        *,
        stdin: int | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        assert stdin in (None, subprocess.DEVNULL)
        assert command[0] == sys.executable
        assert command[1] in ("-m", "-c")
        self.args = command
        self._given: list[int] = []
        out, self.stdout = self._channel(stdout, 1, text)
        err, self.stderr = (out, None) if stderr == subprocess.STDOUT else self._channel(stderr, 2, text)
        _use_shared_fork_server()
        settings = (dict(os.environ if env is None else env), str(cwd or Path.cwd()), start_new_session)
        self._process = _context().Process(
            target=_begin, args=(command[1:], _Descriptor(out), _Descriptor(err), *settings), daemon=True
        )
        self._process.start()
        for descriptor in self._given:
            os.close(descriptor)
        assert self._process.pid
        self.pid = self._process.pid

    def _channel(self, wanted: int | IO[Any] | None, own: int, text: bool) -> tuple[int, IO[Any] | None]:
        """Return what the process writes to, and where it can be read."""
        if wanted is None:
            return own, None
        if wanted == subprocess.DEVNULL:
            self._given.append(os.open(os.devnull, os.O_WRONLY))
            return self._given[-1], None
        if wanted == subprocess.PIPE:
            reading, writing = os.pipe()
            self._given.append(writing)
            return writing, os.fdopen(reading, "r" if text else "rb")
        return (wanted if isinstance(wanted, int) else wanted.fileno()), None

    @property
    def returncode(self) -> int | None:
        """Exit status; minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return ``returncode``."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: if it still runs after so many seconds.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """Read all that it prints until its end, and return it."""
        output: dict[int, Any] = {}

        def read(number: int, pipe: IO[Any]) -> None:
            with pipe:
                output[number] = pipe.read()

        pipes = [(number, pipe) for number, pipe in enumerate((self.stdout, self.stderr)) if pipe]
        threads = [threading.Thread(target=read, args=pair, daemon=True) for pair in pipes]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
        return output.get(0), output.get(1)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class _Descriptor:
    """An open file that is sent to the process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _arrived, (DupFd(self.number),)


def _arrived(descriptor: Any) -> int:
    return int(descriptor.detach())


def _begin(words: list[str], out: int, err: int, environment: dict[str, str], folder: str, own_session: bool) -> None:
    """Become that Python process."""
    if own_session:
        os.setsid()
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may have children
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in environment)  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it is found anew, from this environment
    sys.path[:] = [path for path in sys.path if not _only_for_tests(path)]
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN_SETTINGS]:
        del sys.modules[name]
    option, what, *arguments = words
    try:
        if option == "-m":
            sys.argv = [what, *arguments]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *arguments]
            exec(what, {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends a process without them


def _only_for_tests(path: str) -> bool:
    return any(Path(path).is_relative_to(REPOSITORY / folder) for folder in ("tests", "slicer_extension"))
