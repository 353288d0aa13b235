"""The folders of finished explanations, by id."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lib.storage.disk import leaves_room
from otherwise.errors import OtherwiseError
from otherwise.explain.explanation import SCHEMA, VALUE_SCHEMA
from otherwise.report.folder import JSON_NAME

NAME = re.compile(r"(?![.])[A-Za-z0-9._-]{1,128}")
"""Names of explanations and of their files: no separators; a leading dot marks unfinished files."""


class NotFoundError(OtherwiseError):
    """Something that was requested by name does not exist."""

    code = "not-found"
    status = 404


class DamagedError(NotFoundError):
    """An explanation exists, but cannot be read."""

    code = "damaged"


class StorageError(OtherwiseError):
    """The server cannot store something."""

    code = "storage"
    status = 507


def require_room(folder: Path) -> None:
    """Make sure that a new explanation leaves room on the disk for everything else.

    Raises:
        StorageError: if the disk of ``folder`` is nearly full. Nothing is removed for a new one.
    """
    if not leaves_room(folder):
        raise StorageError(
            "The disk of the server's state folder is nearly full.",
            "Ask the administrator to make room, or to limit what is kept (keep_days, keep_gib).",
        )


class ExplanationStore:
    """Explanations as folders of one parent folder.

    Args:
        root: The parent folder; made if missing.

    Raises:
        StorageError: if it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"Cannot make the folder for explanations {root} ({error.strerror}).", "Give another one as state."
            ) from error
        self.root = root.resolve()

    def new(self, id: str) -> Path:
        """Name the folder that an explanation is to be written to.

        Raises:
            ValueError: if the id does not obey the grammar; ours always do.
        """
        if not NAME.fullmatch(id):
            raise ValueError(f"bad explanation id {id!r}")
        return self.root / id

    def folder(self, id: str) -> Path:
        """Find an explanation.

        Raises:
            NotFoundError: if there is none of this id.
        """
        folder = self._inside(self.root, id)
        if folder is None or not (folder / "explanation.json").is_file():
            raise no_explanation(id)
        return folder

    def ids(self) -> list[str]:
        """Return the ids of all complete explanations, sorted."""
        return sorted(path.name for path in self.root.iterdir() if NAME.fullmatch(path.name) and path.is_dir())

    def file(self, id: str, name: str) -> Path:
        """Find one file of an explanation.

        Raises:
            NotFoundError: if there is no such explanation or file.
        """
        file = self._inside(self.folder(id), name)
        if file is None or not file.is_file():
            raise NotFoundError(
                f"Explanation {id} has no file {name[:128]!r}.", "Its explanation.json lists its files."
            )
        return file

    def content(self, id: str) -> dict[str, Any]:
        """Return the content of an explanation's ``explanation.json``.

        Raises:
            NotFoundError: if there is none, or it is damaged.
        """
        return read_content(self.folder(id))

    @staticmethod
    def _inside(parent: Path, name: str) -> Path | None:
        if not NAME.fullmatch(name):
            return None
        # Resolved, so that a link planted in the folder does not open the rest of the disk.
        path = (parent / name).resolve()
        return path if path.parent == parent else None


def read_content(folder: Path) -> dict[str, Any]:
    """Read ``explanation.json``.

    Raises:
        DamagedError: if it cannot be read.
        OSError: if it does not exist (any more).
    """
    try:
        content = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(folder) from error
    if not isinstance(content, dict) or content.get("schema") not in (SCHEMA, VALUE_SCHEMA):
        raise _damaged(folder)
    return content


def no_explanation(id: str) -> NotFoundError:
    """Return the error for an explanation that does not exist, or that belongs to another user."""
    return NotFoundError(f"There is no explanation {id[:128]!r}.", "Ask /infer/explain for one; ids are in its reply.")


def _damaged(folder: Path) -> DamagedError:
    return DamagedError(f"Explanation {folder.name} is damaged.", "Explain the image again; remove the folder.")
