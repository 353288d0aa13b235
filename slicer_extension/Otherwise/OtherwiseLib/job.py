"""Work that runs beside the application: on a thread of its own, watched by a timer of the main thread.

Slicer's scene and Qt may be touched by the main thread only, and QThread is not safe from Python. So the thread does
HTTP and files and nothing else; what it has to tell waits in a queue until the main thread's timer asks.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any, Callable, Protocol

from .client import Client, ServerError
from .files import ExplanationFiles, Reading
from .finds import Find, read_finds
from .signal import Signal

PUMP_MILLISECONDS = 50
"""Between two looks of the main thread at what the worker tells."""
POLL_SECONDS = 0.25
"""Between two questions to the server how far it is."""

Report = Callable[[str, float], None]
"""Told the stage and the share of the whole that is done."""


class Timer(Protocol):
    """What calls back on the main thread again and again: ``qt.QTimer`` in Slicer."""

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class JobCancelled(Exception):  # noqa: N818 - not an error
    """The work was cancelled."""


class Cancel:
    """Says whether to stop, and wakes up whoever waits."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Stop."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond a cancel.

        Raises:
            JobCancelled: at once when cancelled.
        """
        if self._event.wait(seconds):
            raise JobCancelled

    def check(self) -> None:
        """Raise ``JobCancelled`` if cancelled."""
        self.wait(0)

    @property
    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()


Work = Callable[[Report, Cancel], Any]


class Job:
    """One piece of work on a thread of its own.

    Exactly one of ``finished(result)``, ``failed(error)`` and ``cancelled()`` is emitted, on the thread of the timer,
    and before it any number of ``progressed(stage, fraction)``. After ``abandon`` nothing is emitted any more.

    Args:
        work: Called on the thread; must not touch Qt or the scene.
        timer: Of the main thread.
    """

    def __init__(self, work: Work, timer: Timer) -> None:
        self.progressed, self.finished, self.failed, self.cancelled = Signal(), Signal(), Signal(), Signal()
        self._timer = timer
        self._told: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
        self._cancel = Cancel()
        self._over = False
        # The thread does not know this job: whoever lets go of it last would end the timer, and Qt, on that thread.
        self._thread = threading.Thread(
            target=_do, args=(work, self._told, self._cancel), name="otherwise-job", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._timer.start(PUMP_MILLISECONDS, self.pump)

    def cancel(self) -> None:
        """Ask it to stop; ``cancelled`` follows."""
        self._cancel.set()

    def abandon(self) -> None:
        """Stop it and hear nothing of it any more: the scene is closing, or the module."""
        self._over = True
        self._timer.stop()
        for signal in (self.progressed, self.finished, self.failed, self.cancelled):
            signal.clear()
        self._cancel.set()

    @property
    def running(self) -> bool:
        """Whether an end is still to be told."""
        return not self._over

    def join(self, seconds: float) -> bool:
        """Wait for the thread, for tests and for the end of the application; False if it is still running."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def pump(self) -> None:
        """Emit what the thread has told; called by the timer."""
        while not self._over:
            try:
                name, values = self._told.get_nowait()
            except queue.Empty:
                return
            if name != "progressed":
                self._over = True
                self._timer.stop()
            getattr(self, name).emit(*values)


def _do(work: Work, told: queue.SimpleQueue[tuple[str, tuple[Any, ...]]], cancel: Cancel) -> None:
    try:
        result = work(lambda stage, part: told.put(("progressed", (stage, part))), cancel)
    except JobCancelled:
        told.put(("cancelled", ()))
    except Exception as error:  # whatever it is belongs to who waits
        told.put(("cancelled", ()) if cancel.is_set else ("failed", (error,)))
    else:
        told.put(("finished", (result,)))


def explain(
    client: Client,
    folder: Path,
    *,
    image: str = "",
    file: Path | None = None,
    params: dict | None = None,
    report: Report,
    cancel: Cancel,
) -> ExplanationFiles:
    """Let the server explain an image, and fetch the explanation.

    Args:
        client: The server.
        folder: Gets a folder of the explanation's id.
        image: Id of an image of the studies; or
        file: an image to send.
        params: ``target``, ``slice_index``, ``seed``; of a classifier of patches ``find`` or ``centre``.
        report: Told how far it is.
        cancel: Asked between steps; the server is told to stop as well.

    Returns:
        The explanation, read.

    Raises:
        ServerError: if the server does not do it.
        SceneError: if what it sent does not fit together.
        JobCancelled: if cancelled.
    """
    result = run(client, "explain", image=image, file=file, params=params, report=report, cancel=cancel)
    report("download", 0.97)
    return fetch(client, str(result.get("id", "")), folder)


def fetch(client: Client, id: str, folder: Path) -> ExplanationFiles:
    """Download an explanation that the server has, and read it.

    Args:
        client: The server.
        id: Of the explanation.
        folder: Gets a folder of this name.
    """
    reading = Reading()
    try:
        return reading.finish(client.download(id, folder, reading.begin))
    finally:
        reading.close()


def classify(
    client: Client,
    *,
    image: str = "",
    file: Path | None = None,
    params: dict | None = None,
    report: Report,
    cancel: Cancel,
) -> dict:
    """Let the server classify an image; arguments as for ``explain``.

    Returns:
        ``label`` and ``prediction``: ``[{label, score}]`` in the order of the classes.
    """
    return run(client, "classify", image=image, file=file, params=params, report=report, cancel=cancel)


def find(
    client: Client,
    folder: Path,
    *,
    image: str = "",
    file: Path | None = None,
    params: dict | None = None,
    report: Report,
    cancel: Cancel,
) -> list[Find]:
    """Let the server look for what is worth explaining; arguments as for ``explain``, pictures go to the folder.

    Returns:
        The most probable finds, best first.

    Raises:
        ServerError: ``broken`` if the answer cannot be understood; see ``explain``.
    """
    answer = run(client, "find", image=image, file=file, params=params, report=report, cancel=cancel)
    try:
        return read_finds(answer, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError("broken", "The server sent finds that cannot be read.", "Update the server.") from error


def attribute(
    client: Client, folder: Path, explanation: str, method: str, *, report: Report, cancel: Cancel
) -> tuple[Path, dict]:
    """Let the server ask another method about an explained image, and download its map.

    Args:
        client: The server.
        folder: Gets the file.
        explanation: Id of an explanation of this server.
        method: One of those that ``about`` lists.
        report: As for ``explain``.
        cancel: As for ``explain``.

    Returns:
        The file, and ``method``, ``title``, ``source`` and ``label``.
    """
    params = {"method": method}
    about = run(client, "attribute", explanation=explanation, params=params, report=report, cancel=cancel)
    report("download", 0.97)
    return client.file(explanation, str(about.get("file", "")), folder), about


def run(
    client: Client,
    kind: str,
    *,
    image: str = "",
    file: Path | None = None,
    explanation: str = "",
    params: dict | None,
    report: Report,
    cancel: Cancel,
) -> dict:
    """Start a job on the server and follow it to its end.

    Returns:
        The job's result.
    """
    session = ""
    try:
        if file is not None:
            report("upload", 0.0)
            session = client.upload(file)
        cancel.check()
        image = "" if session else image
        job = client.start(kind, image=image, session=session, explanation=explanation, params=params)
        try:
            while job["state"] in ("queued", "running"):
                report(str(job.get("stage") or job["state"]), 0.05 + 0.9 * job["fraction"])
                cancel.wait(POLL_SECONDS)
                job = client.job(job["id"])
        except JobCancelled:
            client.cancel(job["id"])
            raise
        if job["state"] == "cancelled":
            raise ServerError("refused", "The server stopped the job.", "Ask again.")
        if job["state"] in ("failed", "interrupted"):
            error = job.get("error") or {}
            raise ServerError("refused", str(error.get("detail", "The job failed.")), str(error.get("hint", "")))
        return job["result"]
    finally:
        if session:
            _forget(client, session)


def _forget(client: Client, session: str) -> None:
    # Otherwise it expires by itself.
    with contextlib.suppress(ServerError):
        client.forget(session)
