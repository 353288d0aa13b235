"""The routes for teaching: names, units, questions, versions. Knows neither Slicer nor Qt."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urlencode

from .client import Client
from .errors import ServerError, broken

UNIT = re.compile(r"(?![.])[A-Za-z0-9._-]+/[0-9]+")
RECORDED = 201
"""HTTP status of a saved annotation; no other one counts."""


class TeachingClient:
    """The routes of a server that can be taught; see docs/reference/replies.md.

    Every method raises ``ServerError`` if the server refuses, or sends an answer that cannot be read.

    Args:
        client: The server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Address of the server."""
        return self._client.address

    def vocabulary(self) -> list[dict]:
        """Return the terms: ``{scheme, code, meaning, parent, spurious}``."""
        return _listed(self._client.ask("GET", "/otherwise/vocabulary"), "terms", ("scheme", "code", "meaning"))

    def annotate(self, annotation: dict) -> dict:
        """Record an annotation, or withdraw one.

        Args:
            annotation: With an ``id`` made here, so that a repeat after a lost connection is not recorded twice.

        Returns:
            ``{number, annotation}``. Once this returns, it is saved.
        """
        answer = self._client.ask("POST", "/otherwise/annotations", RECORDED, json=annotation)
        recorded = answer.get("annotation")
        if not isinstance(answer.get("number"), int) or not isinstance(recorded, dict):
            raise broken("the number of what it recorded")
        if recorded.get("id") != annotation["id"]:
            raise broken("what it was asked to record")
        return answer

    def annotations(self) -> list[dict]:
        """Return all annotations, the oldest first, without the regions' voxels; asked page by page."""
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

    def query(self, subject: dict, threshold: float | None) -> dict:
        """Return the units that respond to a region.

        Args:
            subject: ``explanation`` or ``image``, and ``region``.
            threshold: Least overlap with the region; None: each unit has a limit of its own.

        Returns:
            ``{units: [{unit, overlap, answers, name, disputed, votes}], answering, name, voxels}``, best first.
        """
        body = subject if threshold is None else {**subject, "threshold": threshold}
        answer = self._client.ask("POST", "/otherwise/concepts/query", json=body)
        _listed(answer, "units", ("unit", "overlap"))
        return answer

    def concepts(self) -> dict:
        """Return the state of teaching: ``state``, ``version``, ``labels``, ``named_share``, ``versions`` ..."""
        answer = self._client.ask("GET", "/otherwise/concepts")
        for name, keys in (("concepts", ("term",)), ("versions", ("version",)), ("strategies", ("name", "title"))):
            _listed(answer, name, keys)
        if not isinstance(answer.get("state"), str):
            raise broken("the state of teaching")
        return answer

    def activate(self, version: int | str) -> None:
        """Use a version of the names from now on, or ``"latest"`` again."""
        self._client.ask("POST", "/otherwise/concepts/activate", json={"version": version})

    def patches(self, unit: str, most: int, folder: Path) -> list[Path]:
        """Download the patches that excite a unit most, as PNG.

        Args:
            unit: Name of the unit, such as ``layer3/17``.
            most: Most patches to download.
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

    def contour(self, unit: str, explanation: str, label: int, folder: Path) -> Path:
        """Download an explained image as PNG on which a region, and what a unit answers to there, are outlined.

        Args:
            unit: Name of the unit, such as ``layer3/17``.
            explanation: Id.
            label: Of the region.
            folder: Gets the file.
        """
        return self._look(unit, explanation, label, folder / "contour.png")

    def mask(self, unit: str, explanation: str, label: int, folder: Path) -> Path:
        """Download what a unit answers to as a segmentation on the image's own grid; arguments as for ``contour``."""
        return self._look(unit, explanation, label, folder / "mask.seg.nrrd")

    def _look(self, unit: str, explanation: str, label: int, target: Path) -> Path:
        if not UNIT.fullmatch(unit):
            raise broken("the name of a unit")
        asked = urlencode({"explanation": explanation, "label": label})
        return self._client.fetch(f"/otherwise/concepts/units/{unit}/{target.name}?{asked}", target)

    def unit_map(self, marked: list[str], folder: Path) -> Path:
        """Download the map of all units as PNG, some of them marked, into a folder."""
        marks = urlencode([("mark", unit) for unit in marked])
        return self._client.fetch(f"/otherwise/concepts/map.png?{marks}", folder / "map.png")

    def questions(self, strategy: str, count: int) -> list[dict]:
        """Return the next questions: ``{image, explanation, label, reason, strategy}``, best first."""
        params: dict = {"strategy": strategy, "count": count}
        answer = self._client.ask("GET", "/otherwise/concepts/questions", params=params)
        return _listed(answer, "questions", ("image", "explanation", "label", "reason"))

    def explanation(self, id: str) -> dict:
        """Return ``explanation.json`` with the newest names."""
        content = self._client.ask("GET", f"/otherwise/explanations/{quote(id, safe='')}")
        _listed(content, "regions", ("label",))
        return content

    def report(self, id: str, folder: Path) -> str:
        """Return the HTML report with the newest names; a folder gets its file."""
        path = self._client.fetch(f"/otherwise/explanations/{quote(id, safe='')}/report.html", folder / "report.html")
        return path.read_text(encoding="utf-8", errors="replace")


def _listed(answer: dict, name: str, keys: tuple[str, ...]) -> list[dict]:
    """Return a list of objects from an answer, each with these keys."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) and set(keys) <= set(each) for each in found):
        raise broken(f"a list of {name}")
    return found
