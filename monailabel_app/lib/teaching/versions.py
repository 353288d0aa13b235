"""Versions of the names: what each rests upon, what it changed, and which one is in use."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lib.storage.explanation_store import NotFoundError
from otherwise.concepts.snapshot import ConceptSnapshot
from otherwise.images.atomic import atomic_path

WORSE = 0.1
"""A version whose held-out accuracy falls by more than this is used, with a warning."""
HELD = "Held-out accuracy fell"
"""Servers of earlier releases went on with an older version for this reason, and did not say so; that is undone."""


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
        held = chosen.get("reason", "").startswith(HELD)
        self.chosen: int | None = None if held else chosen.get("version")
        self.reason: str = "" if held else chosen.get("reason", "")
        self.since: int = chosen.get("since", sys.maxsize)

    def all(self) -> list[Version]:
        """Return the versions, newest first."""
        return sorted(self._versions.values(), key=lambda version: -version.version)

    def get(self, number: int | None) -> Version | None:
        """One version."""
        return None if number is None else self._versions.get(number)

    def take(self, version: Version) -> None:
        """Store a version; it is used unless another one was chosen."""
        known = self._versions.get(version.version)
        self._versions[version.version] = version
        if known is None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(version), ensure_ascii=False) + "\n")

    def warning(self) -> str:
        """Return a sentence where the newest version is worse than the one before; else nothing."""
        newest, *rest = [*self.all(), None]
        before = rest[0] if rest else None
        if newest is None or before is None or not _worse(newest, before):
            return ""
        return (
            f"{HELD} from {before.accuracy:.2f} to {newest.accuracy:.2f} with version {newest.version}. "
            "Look at the doubtful labels, or go back to an earlier version."
        )

    def before(self, number: int) -> Version | None:
        """Return the version before a number."""
        return next((other for other in self.all() if other.version < number), None)

    def choose(self, number: int | None, reason: str = "", since: int = sys.maxsize) -> None:
        """Use one version from now on; None: always the latest.

        Args:
            number: Of the version.
            reason: A sentence for people.
            since: Number of the last annotation at this moment: what is said later counts beside that version.

        Raises:
            NotFoundError: if there is no such version.
        """
        if number is not None and number not in self._versions:
            raise NotFoundError(f"There is no version {number} of the names.", "GET /otherwise/concepts lists them.")
        with atomic_path(self._choice) as temporary:
            temporary.write_text(json.dumps({"version": number, "reason": reason, "since": since}), encoding="utf-8")
        self.chosen, self.reason, self.since = number, reason, since


def described(number: int, taught: ConceptSnapshot, before: Version | None) -> Version:
    """Return a version of the names: its basis and its changes.

    Args:
        number: Of the last annotation that it rests upon.
        taught: What it knows.
        before: The version before it.
    """
    known = [*taught.model.terms, *(head.term for head in taught.attributes.heads.values())]
    groups = taught.model.vocabulary
    terms = tuple(dict.fromkeys(term.meaning for term in known if not groups.is_group(term)))
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
