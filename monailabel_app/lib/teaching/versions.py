"""Versions of the names: what each rests upon, what it changed, and which one is in use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.store import NotFoundError
from otherwise.images.atomic import atomic_path

LATEST = "latest"


@dataclass(frozen=True)
class Version:
    """One version of the names.

    Attributes:
        version: Number of the last annotation that it rests upon.
        created: ISO 8601 time with time zone.
        labels: How many annotations name something.
        named_share: Share of the decisive change of all explanations that has a name, in [0, 1].
        accuracy: Of the labelled regions that get a name when their own label is held back, the share whose name is
            right; None where there are too few to tell.
        terms: Meanings of the names in use.
        changed: What is new, a sentence for people.
    """

    version: int
    created: str
    labels: int
    named_share: float
    accuracy: float | None
    terms: tuple[str, ...]
    changed: str


class Versions:
    """The log of versions and the choice among them; both survive a restart.

    Args:
        folder: Where they are kept; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._choice = folder / "versions.jsonl", folder / "active.json"
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.is_file() else []
        found = [Version(**{**content, "terms": tuple(content["terms"])}) for content in map(_read, lines) if content]
        self._versions = {version.version: version for version in found}
        chosen = json.loads(self._choice.read_text(encoding="utf-8")) if self._choice.is_file() else {}
        self.chosen: int | None = chosen.get("version")
        self.reason: str = chosen.get("reason", "")

    def all(self) -> list[Version]:
        """The newest first."""
        return sorted(self._versions.values(), key=lambda version: -version.version)

    def get(self, number: int | None) -> Version | None:
        """One version."""
        return None if number is None else self._versions.get(number)

    def add(self, version: Version) -> None:
        """Keep a version; one of the same number is replaced."""
        known = self._versions.get(version.version)
        self._versions[version.version] = version
        if known is None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(version), ensure_ascii=False) + "\n")

    def choose(self, number: int | None, reason: str = "") -> None:
        """Use one version whatever comes; None: always the latest.

        Raises:
            NotFoundError: if there is no such version.
        """
        if number is not None and number not in self._versions:
            raise NotFoundError(f"There is no version {number} of the names.", "GET /otherwise/concepts lists them.")
        with atomic_path(self._choice) as temporary:
            temporary.write_text(json.dumps({"version": number, "reason": reason}), encoding="utf-8")
        self.chosen, self.reason = number, reason


def _read(line: str) -> dict | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # the last line of a server that was killed
        return None
