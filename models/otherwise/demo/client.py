"""A MONAI Label client, as small as can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from otherwise.demo.setup import DemoError

ANSWER_SECONDS = 1800.0


def session() -> requests.Session:
    """Open a session without a proxy: that of the network has no business between two programs on one machine."""
    opened = requests.Session()
    opened.trust_env = False
    return opened


class DemoClient:
    """A MONAI Label client, as small as can be.

    Args:
        url: Of the server, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = session()

    def dimension(self, model: str) -> int:
        """Return the spatial dimensions of a model's input, 2 or 3.

        Raises:
            DemoError: with what the server says is wrong.
        """
        return int(self._ask("GET", "/info/").json()["models"][model]["dimension"])

    def infer(self, model: str, image: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a model on an image of the studies.

        Args:
            model: ``classify`` or ``explain``.
            image: Its id.
            options: As ``/info/`` lists them; without: the server's own choice.

        Raises:
            DemoError: with what the server says is wrong.
        """
        query, form = {"image": image, "output": "json"}, {"params": json.dumps(dict(options or {}))}
        reply = self._ask("POST", f"/infer/{model}", params=query, data=form)
        answer: dict[str, Any] = reply.json()
        return answer

    def download(self, explanation: dict[str, Any], parent: Path) -> Path:
        """Get all files of an explanation.

        Returns:
            Their folder.
        """
        base = f"/otherwise/explanations/{explanation['id']}"
        folder = parent / explanation["id"]
        folder.mkdir(parents=True, exist_ok=True)
        addresses = {"explanation.json": base, "report.html": f"{base}/report.html"}
        for names in explanation["files"].values():
            for name in [names] if isinstance(names, str) else names:
                addresses[name] = f"{base}/files/{name}"
        if seen := explanation.get("seen"):
            addresses[seen["file"]] = f"{base}/files/{seen['file']}"
        for name, address in addresses.items():
            (folder / Path(name).name).write_bytes(self._ask("GET", address).content)
        return folder

    def _ask(self, method: str, address: str, **arguments: Any) -> requests.Response:
        try:
            reply = self._session.request(method, self.url + address, timeout=ANSWER_SECONDS, **arguments)
        except requests.RequestException as error:
            raise DemoError(
                f"The server does not answer ({type(error).__name__}).", "Its log is server.log."
            ) from error
        if not reply.ok:
            raise DemoError(*_refusal(reply))
        return reply


def _refusal(reply: requests.Response) -> tuple[str, str]:
    try:
        error = reply.json()
        return f"The server refused: {error['detail']}", str(error.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return f"The server answered {reply.status_code}.", "Its log is server.log."
