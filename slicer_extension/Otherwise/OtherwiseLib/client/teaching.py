"""Speaks HTTP about what somebody teaches: names, units, questions, versions. Knows neither Slicer nor Qt."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urlencode

from .client import Client
from .errors import ServerError, broken

UNIT = re.compile(r"(?![.])[A-Za-z0-9._-]+/[0-9]+")
RECORDED = 201
"""Status of an annotation that stays; nothing else counts as saved."""


class TeachingClient:
    """The routes of a server that can be taught; see docs/reference/replies.md.

    Every method raises ``ServerError`` if the server does not do it, or sends what makes no sense.

    Args:
        client: The server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Of the server."""
        return self._client.address

    def vocabulary(self) -> list[dict]:
        """Terms: ``{scheme, code, meaning, parent, spurious}``."""
        return _listed(self._client.ask("GET", "/otherwise/vocabulary"), "terms", ("scheme", "code", "meaning"))

    def annotate(self, annotation: dict) -> dict:
        """Say something of an image, or take it back.

        Args:
            annotation: With an ``id`` made here, so that a repeat after a lost connection is not recorded twice.

        Returns:
            ``{number, annotation}``. Once this returns, the server keeps it.
        """
        answer = self._client.ask("POST", "/otherwise/annotations", RECORDED, json=annotation)
        recorded = answer.get("annotation")
        if not isinstance(answer.get("number"), int) or not isinstance(recorded, dict):
            raise broken("the number of what it recorded")
        if recorded.get("id") != annotation["id"]:
            raise broken("what it was asked to record")
        return answer

    def annotations(self) -> list[dict]:
        """What has been said, the oldest first, page by page; without the regions' voxels."""
        found: list[dict] = []
        while True:
            since = int(found[-1]["number"]) if found else 0
            answer = self._client.ask("GET", "/otherwise/annotations", params={"since": since})
            page = _listed(answer, "annotations", ("number", "id", "kind"))
            if any(note["number"] <= since for note in page):
                raise broken("annotations in their order")
            found += page
            if not page or found[-1]["number"] >= int(answer.get("head") or 0):
                return found

    def query(self, subject: dict, threshold: float) -> dict:
        """Ask which units answer to a region.

        Args:
            subject: ``explanation`` or ``image``, and ``region``.
            threshold: Least overlap that counts.

        Returns:
            ``{units: [{unit, overlap, name, disputed, votes}], answering, name, voxels}``, best first.
        """
        answer = self._client.ask("POST", "/otherwise/concepts/query", json={**subject, "threshold": threshold})
        _listed(answer, "units", ("unit", "overlap"))
        return answer

    def concepts(self) -> dict:
        """How far teaching has come: ``state``, ``version``, ``labels``, ``named_share``, ``versions`` ..."""
        answer = self._client.ask("GET", "/otherwise/concepts")
        for name, keys in (("concepts", ("term",)), ("versions", ("version",)), ("strategies", ("name", "title"))):
            _listed(answer, name, keys)
        if not isinstance(answer.get("state"), str):
            raise broken("how far it has come")
        return answer

    def activate(self, version: int | str) -> None:
        """Use one version of the names from now on, or ``"latest"`` again."""
        self._client.ask("POST", "/otherwise/concepts/activate", json={"version": version})

    def patches(self, unit: str, most: int, folder: Path) -> list[Path]:
        """Download patches that excite a unit most, as PNG.

        Args:
            unit: Such as ``layer3/17``.
            most: How many at most; fewer where the unit has no more.
            folder: Gets the files.
        """
        if not UNIT.fullmatch(unit):
            raise broken("the name of a unit")
        found: list[Path] = []
        for number in range(most):
            try:
                route = f"/otherwise/concepts/units/{unit}/patches/{number}.png"
                found.append(self._client.fetch(route, folder / f"patch-{number}.png"))
            except ServerError as error:
                if error.status != 404:
                    raise
                break
        return found

    def unit_map(self, marked: list[str], folder: Path) -> Path:
        """Download the map of all units as PNG, some of them marked; the folder gets a file."""
        marks = urlencode([("mark", unit) for unit in marked])
        return self._client.fetch(f"/otherwise/concepts/map.png?{marks}", folder / "map.png")

    def questions(self, strategy: str, count: int) -> list[dict]:
        """What to ask next: ``{image, explanation, label, reason, strategy}``, the best first."""
        params: dict = {"strategy": strategy, "count": count}
        answer = self._client.ask("GET", "/otherwise/concepts/questions", params=params)
        return _listed(answer, "questions", ("image", "explanation", "label", "reason"))

    def explanation(self, id: str) -> dict:
        """``explanation.json`` by the newest names."""
        content = self._client.ask("GET", f"/otherwise/explanations/{quote(id, safe='')}")
        _listed(content, "regions", ("label",))
        return content

    def report(self, id: str, folder: Path) -> str:
        """The page to read, by the newest names; the folder gets a file."""
        path = self._client.fetch(f"/otherwise/explanations/{quote(id, safe='')}/report.html", folder / "report.html")
        return path.read_text(encoding="utf-8", errors="replace")


def _listed(answer: dict, name: str, keys: tuple[str, ...]) -> list[dict]:
    """A list of objects of an answer, each of which has these keys."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) and set(keys) <= set(each) for each in found):
        raise broken(f"a list of {name}")
    return found
