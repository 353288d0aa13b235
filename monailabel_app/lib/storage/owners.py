"""Owners of sessions, of uploads, and of explanations of uploads."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from lib.storage.explanation_store import NAME, StorageError, no_explanation
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path
from otherwise.tokens import Role


class NotYoursError(OtherwiseError):
    """A label or an annotation belongs to another user."""

    code = "not-yours"
    status = 403


@dataclass(frozen=True)
class Caller:
    """The user who makes a request.

    Attributes:
        user: Name; empty where nobody logs in, and for the server itself.
        role: Role of the user.
    """

    user: str
    role: Role

    def sees(self, owner: str | None) -> bool:
        """Return whether this user may see something of ``owner`` (None: everybody may)."""
        return owner is None or self.user == owner or self.role == Role.ADMIN


ITSELF = Caller("", Role.ADMIN)
"""The server itself, and the user of a server on which nobody logs in."""

CALLER: ContextVar[Caller] = ContextVar("CALLER", default=ITSELF)
"""The user of the request that is being answered, for code that MONAI Label's functions call."""


class Owners:
    """Owners of private explanations, one small file each; for any number of threads.

    Args:
        folder: Folder of the files; made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def set(self, id: str, owner: str) -> None:
        """Make an explanation private. Call it before the explanation can be found.

        Raises:
            StorageError: if the disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._file(id)) as draft:
                draft.write_text(json.dumps({"owner": owner}), encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"The owner of an explanation could not be written ({error.strerror}).", "Make room on the disk."
            ) from error

    def get(self, id: str) -> str | None:
        """Return the owner of an explanation; None: it is everybody's.

        A file that cannot be read makes the explanation the administrator's.
        """
        if not NAME.fullmatch(id):
            return None
        try:
            return str(json.loads(self._file(id).read_text(encoding="utf-8"))["owner"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def remove(self, id: str) -> None:
        """Remove the owner of an explanation that was removed."""
        self._file(id).unlink(missing_ok=True)

    def _file(self, id: str) -> Path:
        return self.folder / f"{id}.json"


def check_visible(owners: Owners, id: str, caller: Caller) -> None:
    """Refuse an explanation of another user, in the same words as one that does not exist.

    Raises:
        NotFoundError: if the caller may not see it.
    """
    if not caller.sees(owners.get(id)):
        raise no_explanation(id)
