"""The routes for versions of the models, and for training. Knows neither Slicer nor Qt."""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import quote

from .client import Client
from .errors import ServerError, broken

TRAINER = "agent"
STATES = ("SUBMITTED", "RUNNING", "DONE", "ERROR", "STOPPED")
"""States of MONAI Label's tasks."""


class ModelsClient:
    """The routes for versions of the models; see docs/reference/replies.md.

    Every method raises ``ServerError`` if the server refuses, or sends an answer that cannot be read.

    Args:
        client: The server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def look(self) -> tuple[dict | None, dict]:
        """Return ``training()`` and ``versions()``, in this order, so that a finished training's version is there."""
        training = self.training()
        return training, self.versions()

    def versions(self) -> dict:
        """Return ``{active, reason, problem, versions}``.

        Each version is ``{id, created, classifier, agent, before, after, note, in_use}``.
        """
        return _checked(self._client.ask("GET", "/otherwise/models"))

    def activate(self, id: str) -> dict:
        """Use a version from now on, for all users; returns the same as ``versions``."""
        return _checked(self._change(f"/otherwise/models/{quote(id, safe='')}/activate", {}))

    def roll_back(self) -> dict:
        """Use the version before, for all users; returns the same as ``versions``."""
        return _checked(self._change("/otherwise/models/rollback", {}))

    def train(self, minutes: int) -> dict:
        """Train the agent further on the images of the studies; returns the same as ``training``."""
        try:
            return _checked_training(self._change(f"/train/{TRAINER}", {"minutes": minutes}))
        except ServerError as error:
            if error.kind == "busy" and "already running" in error.detail.lower():
                raise ServerError("busy", "A training runs already.", "Wait for its end, or stop it.") from error
            raise

    def training(self) -> dict | None:
        """Return the last training: ``{id, status, request, details}``, with its last log lines; None: no training."""
        try:
            return _checked_training(self._client.ask("GET", "/train/"))
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    def stop(self) -> None:
        """Stop the training."""
        if not _with_reason(lambda: self._client.has_answer("DELETE", "/train/")):
            raise ServerError("refused", "No training runs.", "If it is about to begin, try again.")

    def _change(self, path: str, body: dict) -> dict:
        return _with_reason(lambda: self._client.ask("POST", path, json=body))


def _with_reason(ask: Callable[[], Any]) -> Any:
    """Call, and put the server's own reason into the error where the user lacks a role."""
    try:
        return ask()
    except ServerError as error:
        if error.kind == "unauthorised" and error.reason:
            raise ServerError("unauthorised", error.reason, "Log in as a user who may do that.") from error
        raise


def _checked(answer: dict) -> dict:
    versions = answer.get("versions")
    if not isinstance(answer.get("active"), str) or not isinstance(versions, list):
        raise broken("a list of versions")
    for version in versions:
        good = isinstance(version, dict) and isinstance(version.get("id"), str) and bool(version["id"])
        if not good or not isinstance(version.get("agent"), dict):
            raise broken("a list of versions")
    return answer


def _checked_training(answer: dict) -> dict:
    if not isinstance(answer.get("id"), str) or answer.get("status") not in STATES:
        raise broken("how far the training is")
    lines, request = answer.get("details"), answer.get("request")
    details = [str(line) for line in lines] if isinstance(lines, list) else []
    return {**answer, "details": details, "request": request if isinstance(request, dict) else {}}
