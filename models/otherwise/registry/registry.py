"""Pairs of a classifier and its agent as immutable versions in a folder, one of them in use.

A running server looks at the folder now and then, so that a command line beside it can change what is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_folder, atomic_path

ID = re.compile(r"[0-9a-f]{16}")
RECORD, ACTIVE, AGENT = "record.json", "active.json", "agent"


class RegistryError(OtherwiseError):
    """There is no such version, or its record is damaged."""

    code = "model"
    status = 404


@dataclass(frozen=True)
class Model:
    """A model at the time when a version was made.

    Attributes:
        name: For people.
        version: Of its content.
        reference: Where it is: a bundle's folder (relative: within the version's own folder), or a shipped one's name.
    """

    name: str
    version: str
    reference: str


@dataclass(frozen=True)
class PairVersion:
    """A classifier and an agent that was taught by it.

    Attributes:
        id: 16 hexadecimal digits, from both contents.
        created: ISO 8601 time with time zone.
        classifier: The black box.
        agent: What explains it.
        parent: Id of the version that the agent was trained on from; empty for the first.
        images: Number of images that it was trained on; None if unknown.
        before: Figures of the parent on the held-out images, by name; empty where there was none.
        after: Figures of this one on the same images.
        note: A sentence for people.
    """

    id: str
    created: str
    classifier: Model
    agent: Model
    parent: str = ""
    images: int | None = None
    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """The version that is in use.

    Attributes:
        id: Of the version; empty: the first one.
        reason: Why, a sentence for people.
        former: What was in use before, the last first.
    """

    id: str = ""
    reason: str = ""
    former: tuple[str, ...] = ()


def pair_id(classifier_version: str, agent_version: str) -> str:
    """Name a pair by its contents."""
    return hashlib.sha256(f"{classifier_version}\n{agent_version}".encode()).hexdigest()[:16]


class Registry:
    """The versions in a folder.

    Args:
        root: The folder; made with the first version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def all(self) -> list[PairVersion]:
        """Return every version, the oldest first.

        Raises:
            RegistryError: if a record is damaged.
        """
        folders = self.root.iterdir() if self.root.is_dir() else ()
        found = [self.get(folder.name) for folder in folders if ID.fullmatch(folder.name)]
        return sorted(found, key=lambda version: (version.created, version.id))

    def get(self, id: str) -> PairVersion:
        """Return one version.

        Raises:
            RegistryError: if there is none of this id, or its record is damaged.
        """
        file = self.root / id / RECORD if ID.fullmatch(id) else None
        if file is None or not file.is_file():
            raise RegistryError(f"There is no version {id[:32]!r} of the models.", "otherwise models list shows them.")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            classifier, agent = (Model(**content.pop(name)) for name in ("classifier", "agent"))
            return PairVersion(**content, classifier=classifier, agent=agent)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"The record of version {id} is damaged.", "Restore it, or remove its folder."
            ) from error

    def add(self, version: PairVersion, agent: Path | None = None) -> PairVersion:
        """Keep a version; one that is there already stays as it is.

        Args:
            version: What to keep.
            agent: Bundle that is moved into the version's folder.

        Raises:
            WriteError: if the disk refuses.
        """
        folder = self.root / version.id
        if folder.exists():
            return self.get(version.id)
        with atomic_folder(folder) as draft:
            if agent is not None:
                agent.rename(draft / AGENT)
            (draft / RECORD).write_text(json.dumps(asdict(version), indent=2), encoding="utf-8")
        return version

    def path(self, version: PairVersion, model: Model) -> str:
        """Return the path of a version's model, for ``load_agent`` and ``load_classifier``."""
        inside = self.root / version.id / model.reference
        return str(inside) if model.reference == AGENT else model.reference

    def active(self) -> Choice:
        """Return the version that is in use.

        Raises:
            RegistryError: if the choice is damaged.
        """
        file = self.root / ACTIVE
        if not file.is_file():
            return Choice()
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return Choice(content["id"], content["reason"], tuple(content["former"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                "The choice of models is damaged.", f"Remove {ACTIVE} from the models' folder."
            ) from error

    def activate(self, id: str, reason: str = "") -> Choice:
        """Use a version from now on.

        Raises:
            RegistryError: if there is none of this id.
            WriteError: if the disk refuses.
        """
        self.get(id)
        now = self.active()
        if now.id == id:
            return now
        chosen = Choice(id, reason, (now.id, *now.former)[:32] if now.id else now.former)
        with atomic_path(self.root / ACTIVE) as temporary:
            temporary.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
        return chosen

    def roll_back(self, reason: str = "Rolled back.") -> Choice:
        """Use what was in use before.

        Raises:
            RegistryError: if nothing was.
        """
        now = self.active()
        if not now.former:
            raise RegistryError("There is no earlier version to go back to.", "otherwise models list shows them.")
        self.get(now.former[0])
        chosen = Choice(now.former[0], reason, now.former[1:])
        with atomic_path(self.root / ACTIVE) as temporary:
            temporary.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
        return chosen


def lasting_reference(reference: str) -> str:
    """Return a bundle's folder as an absolute path; the name of a shipped bundle as it is."""
    return str(Path(reference).resolve()) if Path(reference).is_dir() else reference


def now() -> str:
    """Return the time in the form of records."""
    return datetime.now(UTC).isoformat(timespec="seconds")
