"""Versions of the names: what each rests upon, what it changed, and which one is in use."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lib.storage.explanation_store import NotFoundError
from otherwise.concepts.snapshot import ConceptSnapshot
from otherwise.images.atomic import atomic_path

logger = logging.getLogger(__name__)

WORSE = 0.1
"""A version whose held-out accuracy falls by more than this is kept, but not used."""
HELD = "Held-out accuracy fell"


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
        self.insisted: bool = chosen.get("insisted", False)

    def all(self) -> list[Version]:
        """The newest first."""
        return sorted(self._versions.values(), key=lambda version: -version.version)

    def get(self, number: int | None) -> Version | None:
        """One version."""
        return None if number is None else self._versions.get(number)

    def take(self, version: Version) -> int | None:
        """Keep a version, and use it unless it is worse than the one before, or somebody chose another.

        Returns:
            Number of the version to use; None: the latest.
        """
        active = self.get(self.chosen)
        before = active or self.before(version.version)
        self._add(version)
        if self.chosen is None and not self.insisted and before and _worse(version, before):
            reason = f"{HELD} from {before.accuracy:.2f} to {version.accuracy:.2f} with version {version.version}."
            logger.warning("Version %d of the names is kept, but not used. %s", version.version, reason)
            self.choose(before.version, reason)
        elif self.reason.startswith(HELD) and not (active and _worse(version, active)):
            self.choose(None)
        return self.chosen

    def before(self, number: int) -> Version | None:
        """The version before a number."""
        return next((other for other in self.all() if other.version < number), None)

    def _add(self, version: Version) -> None:
        known = self._versions.get(version.version)
        self._versions[version.version] = version
        if known is None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(version), ensure_ascii=False) + "\n")

    def choose(self, number: int | None, reason: str = "", insist: bool = False) -> None:
        """Use one version whatever comes; None: the latest, if ``insist`` however little it knows.

        Raises:
            NotFoundError: if there is no such version.
        """
        if number is not None and number not in self._versions:
            raise NotFoundError(f"There is no version {number} of the names.", "GET /otherwise/concepts lists them.")
        with atomic_path(self._choice) as temporary:
            temporary.write_text(
                json.dumps({"version": number, "reason": reason, "insisted": insist}), encoding="utf-8"
            )
        self.chosen, self.reason, self.insisted = number, reason, insist


def described(number: int, taught: ConceptSnapshot, before: Version | None) -> Version:
    """What a version rests upon, and what it changes.

    Args:
        number: Of the last annotation that it rests upon.
        taught: What it knows.
        before: The version before it.
    """
    terms = tuple(dict.fromkeys(term.meaning for term in taught.model.terms))
    former, labels = (before.terms, before.labels) if before else ((), 0)
    return Version(
        version=number,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=taught.labels,
        named_share=round(taught.named_share(), 4),
        accuracy=taught.accuracy(),
        terms=terms,
        changed=_changed(terms, former, taught.labels - labels),
    )


def _changed(terms: Sequence[str], before: Sequence[str], labels: int) -> str:
    new, gone = [t for t in terms if t not in before], [t for t in before if t not in terms]
    count = f"{labels:+d} label{'' if abs(labels) == 1 else 's'}" if labels else "labels as before"
    parts = [f"new: {', '.join(new)}" if new else "", f"gone: {', '.join(gone)}" if gone else ""]
    return "; ".join(part for part in (count, *parts) if part) + "."


def _worse(version: Version, than: Version) -> bool:
    return version.accuracy is not None and than.accuracy is not None and version.accuracy < than.accuracy - WORSE


def _read(line: str) -> dict | None:
    try:
        return dict(json.loads(line))
    except ValueError:  # the last line of a server that was killed
        return None
