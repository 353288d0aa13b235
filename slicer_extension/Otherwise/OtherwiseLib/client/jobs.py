"""Long work on the server, from a job's thread: start it, follow it, and fetch or cancel it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from ..background.job import Cancel, JobCancelled, JobLeft, Report
from ..files.explanation_files import ExplanationFiles, ExplanationReader
from ..files.finds import Find, read_finds
from .client import Client
from .errors import ServerError
from .job_watch import JobWatch

DOWNLOAD = 0.97
"""Fraction of the whole that is done when the download begins."""


@dataclass(frozen=True)
class JobRequest:
    """What a job is about.

    Attributes:
        image: Id of an image of the studies.
        file: An image to send, instead of ``image``.
        explanation: Id of an explanation whose image is meant, instead of both.
        params: Options. For ``explain``: ``target``, ``slice_index``, ``seed``, ``noise``, ``edit``; for a classifier
            of patches ``find`` or ``centre``.
    """

    image: str = ""
    file: Path | None = None
    explanation: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerJobs:
    """Runs jobs on a server and waits for them.

    Every method raises ``ServerError`` if the server does not do it, ``SceneError`` if what it sent does not fit
    together, and ``JobCancelled`` if cancelled.

    Attributes:
        client: The server.
        report: Called with stage and fraction.
        cancel: Looked at between steps; the server is asked to stop as well.
        started: Called with the id of the server's job, on this thread.
    """

    client: Client
    report: Report
    cancel: Cancel
    started: Callable[[str], None] = lambda id: None

    def explain(self, request: JobRequest, folder: Path) -> ExplanationFiles:
        """Explain an image, and fetch the explanation into a folder of its id within ``folder``."""
        return self._fetch(self._run("explain", request), folder)

    def resume(self, job: str, folder: Path) -> ExplanationFiles:
        """Follow a job of kind ``explain`` that was started before, and fetch the explanation.

        Args:
            job: Id of the server's job.
            folder: Folder in which a folder of the explanation's id is made.
        """
        return self._fetch(self._follow(self.client.job(job)), folder)

    def classify(self, request: JobRequest) -> dict:
        """Return ``label`` and ``prediction``: ``[{label, score}]`` in the order of the classes."""
        return self._run("classify", request)

    def find(self, request: JobRequest, folder: Path) -> list[Find]:
        """Return the patches that are most worth explaining, best first; their pictures go to the folder."""
        answer = self._run("find", request)
        try:
            return read_finds(answer, folder)
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError("broken", "The server sent finds that cannot be read.", "Update the server.") from error

    def attribute(self, explanation: str, method: str, folder: Path) -> tuple[Path, dict]:
        """Run another method on an explained image, and download its map.

        Args:
            explanation: Id of an explanation of this server.
            method: Name of a method that ``about`` lists.
            folder: Gets the file.

        Returns:
            The file, and ``method``, ``title``, ``source`` and ``label``.
        """
        about = self._run("attribute", JobRequest(explanation=explanation, params={"method": method}))
        self.report("download", DOWNLOAD)
        return self.client.file(explanation, str(about.get("file", "")), folder), about

    def _fetch(self, result: dict, folder: Path) -> ExplanationFiles:
        self.report("download", DOWNLOAD)
        return fetch(self.client, str(result.get("id", "")), folder)

    def _run(self, kind: str, request: JobRequest) -> dict:
        """Start a job, follow it to its end, and return its result."""
        session = ""
        try:
            if request.file is not None:
                self.report("upload", 0.0)
                session = self.client.upload(request.file)
            self.cancel.check()
            job = self.client.start(
                kind,
                image="" if session else request.image,
                session=session,
                explanation=request.explanation,
                params=dict(request.params),
            )
            self.started(job["id"])
            return self._follow(job)
        finally:
            if session and not self.cancel.left:
                # Where this fails, the session expires by itself.
                with contextlib.suppress(ServerError):
                    self.client.forget(session)

    def _follow(self, job: dict) -> dict:
        """Follow a job to its end, and return its result; a job that was left goes on at the server."""
        try:
            with JobWatch(self.client, job["id"]) as watch:
                while job["state"] in ("queued", "running"):
                    self.report(str(job.get("stage") or job["state"]), 0.05 + 0.9 * job["fraction"])
                    job = watch.next(self.cancel)
        except JobLeft:
            raise
        except JobCancelled:
            self.client.cancel(job["id"])
            raise
        if job["state"] == "cancelled":
            raise ServerError("refused", "The server stopped the job.", "Start it again.")
        if job["state"] in ("failed", "interrupted"):
            error = job.get("error") or {}
            raise ServerError("refused", str(error.get("detail", "The job failed.")), str(error.get("hint", "")))
        return job["result"]


def fetch(client: Client, id: str, folder: Path) -> ExplanationFiles:
    """Download an explanation, and read it.

    Args:
        client: The server.
        id: Id of the explanation.
        folder: Folder in which a folder of this name is made.
    """
    reading = ExplanationReader()
    try:
        return reading.finish(client.download(id, folder, reading.begin))
    finally:
        reading.close()
