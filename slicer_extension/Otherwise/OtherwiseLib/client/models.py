"""Speaks HTTP about versions of the models, and about training them. Knows neither Slicer nor Qt."""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import quote

from .client import Client
from .errors import ServerError, broken

TRAINER = "agent"
STATES = ("SUBMITTED", "RUNNING", "DONE", "ERROR", "STOPPED")
"""Of MONAI Label's tasks."""


class ModelsClient:
    """The routes for versions of the models; see docs/reference/replies.md.

    Every method raises ``ServerError`` if the server does not do it, or sends what makes no sense.

    Args:
        client: The server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def look(self) -> tuple[dict | None, dict]:
        """What ``training`` and ``versions`` say, in this order: what a training that is over has made is there."""
        training = self.training()
        return training, self.versions()

    def versions(self) -> dict:
        """``{active, reason, problem, versions: [{id, created, classifier, agent, before, after, note, in_use}]}``."""
        return _checked(self._client.ask("GET", "/otherwise/models"))

    def activate(self, id: str) -> dict:
        """Use a version from now on, for everybody; the answer is as of ``versions``."""
        return _checked(self._change(f"/otherwise/models/{quote(id, safe='')}/activate", {}))

    def roll_back(self) -> dict:
        """Use what was in use before, for everybody; the answer is as of ``versions``."""
        return _checked(self._change("/otherwise/models/rollback", {}))

    def train(self, minutes: int) -> dict:
        """Go on training the agent on the images of the studies; see ``training``."""
        try:
            return _checked_training(self._change(f"/train/{TRAINER}", {"minutes": minutes}))
        except ServerError as error:
            if error.kind == "busy" and "already running" in error.detail.lower():
                raise ServerError("busy", "A training runs already.", "Wait for its end, or stop it.") from error
            raise

    def training(self) -> dict | None:
        """The last training: ``{id, status, request, details}``, with its last lines; None: there was none."""
        try:
            return _checked_training(self._client.ask("GET", "/train/"))
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    def stop(self) -> None:
        """Stop the training that runs."""
        if not _in_its_words(lambda: self._client.has_answer("DELETE", "/train/")):
            raise ServerError("refused", "The server has nothing to stop.", "If it is about to begin, try again.")

    def _change(self, path: str, body: dict) -> dict:
        return _in_its_words(lambda: self._client.ask("POST", path, json=body))


def _in_its_words(ask: Callable[[], Any]) -> Any:
    """Ask; where it takes a role that the user has not, the server says which."""
    try:
        return ask()
    except ServerError as error:
        if error.kind == "unauthorised" and error.reason:
            raise ServerError("unauthorised", error.reason, "Log in as somebody who may do that.") from error
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
