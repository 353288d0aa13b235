"""Long work on the server, from a job's thread: start it, follow it, fetch what came of it, or cancel it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable

from ..background.job import Cancel, JobCancelled, JobLeft, Report
from ..files.explanation_files import ExplanationFiles, Reading
from ..files.finds import Find, read_finds
from .client import Client, ServerError

POLL_SECONDS = 0.25
"""Between two questions to the server how far it is."""


def explain(
    client: Client,
    folder: Path,
    *,
    image: str = "",
    file: Path | None = None,
    params: dict | None = None,
    report: Report,
    cancel: Cancel,
    started: Callable[[str], None] = lambda id: None,
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
        started: Told the id of the server's job, on this thread.

    Returns:
        The explanation, read.

    Raises:
        ServerError: if the server does not do it.
        SceneError: if what it sent does not fit together.
        JobCancelled: if cancelled.
    """
    result = run(
        client, "explain", image=image, file=file, params=params, report=report, cancel=cancel, started=started
    )
    report("download", 0.97)
    return fetch(client, str(result.get("id", "")), folder)


def resume(client: Client, folder: Path, job: str, *, report: Report, cancel: Cancel) -> ExplanationFiles:
    """Follow a job for an explanation that was started before, and fetch the explanation.

    Args:
        client: The server.
        folder: Gets a folder of the explanation's id.
        job: Id of the server's job.
        report: As for ``explain``.
        cancel: As for ``explain``.
    """
    result = follow(client, client.job(job), report, cancel)
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
    started: Callable[[str], None] = lambda id: None,
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
        started(job["id"])
        return follow(client, job, report, cancel)
    finally:
        if session and not cancel.left:
            _forget(client, session)


def follow(client: Client, job: dict, report: Report, cancel: Cancel) -> dict:
    """Follow a job of the server to its end, and return its result.

    Raises:
        ServerError: if it fails, or is stopped there.
        JobCancelled: if cancelled here; the server is told to stop, unless it was left.
    """
    try:
        while job["state"] in ("queued", "running"):
            report(str(job.get("stage") or job["state"]), 0.05 + 0.9 * job["fraction"])
            cancel.wait(POLL_SECONDS)
            job = client.job(job["id"])
    except JobLeft:
        raise
    except JobCancelled:
        client.cancel(job["id"])
        raise
    if job["state"] == "cancelled":
        raise ServerError("refused", "The server stopped the job.", "Ask again.")
    if job["state"] in ("failed", "interrupted"):
        error = job.get("error") or {}
        raise ServerError("refused", str(error.get("detail", "The job failed.")), str(error.get("hint", "")))
    return job["result"]


def _forget(client: Client, session: str) -> None:
    # Otherwise it expires by itself.
    with contextlib.suppress(ServerError):
        client.forget(session)
