"""Find the file of an image by id, by session or by upload, never by a path of the server."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fastapi import UploadFile
from monailabel.interfaces.datastore import Datastore
from monailabel.utils.sessions import Sessions

from lib.settings.params import MalformedError, ParamsError
from lib.storage.explanation_store import NotFoundError
from lib.storage.owners import Caller
from lib.storage.reading_budget import ReadingBudget
from otherwise.errors import OtherwiseError
from otherwise.images.formats.registry import ENDINGS, HEADER_ENDINGS
from otherwise.images.image import Image
from otherwise.images.reading import read_image

IMAGE_ID = re.compile(r"(?![.]{1,2}$)[^/\\\x00-\x1f\x7f]{1,255}")
"""MONAI Label's image ids are file names without extension: any characters but separators and controls."""

SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

READABLE = tuple(ending for ending in ENDINGS if ending not in HEADER_ENDINGS)
"""Endings of the files that are taken for images, in the studies and of uploads: each holds a whole image."""


@dataclass(frozen=True)
class Source:
    """An image on the server's disk.

    Attributes:
        path: File, or folder of a DICOM series.
        id: Its id, the only name that is sent to clients.
        owner: User who owns it; None: everybody may see it, as the images of the studies.
    """

    path: Path
    id: str
    owner: str | None = None

    def read(self, budget: ReadingBudget, user: str = "", patience: float | None = None) -> Image:
        """Read the image within the server's budget of memory.

        Args:
            budget: Of all images.
            user: Who asks.
            patience: Seconds to wait for memory instead of the budget's own.

        Raises:
            MemoryBusyError: if other images take the memory.
            OtherwiseError: if it cannot be used.
        """
        try:
            return budget.read(lambda: read_image(self.path, id=self.id), user, patience)
        except OtherwiseError as error:
            # Readers name the file; outside the server it has an id only.
            error.detail = error.detail.replace(self.path.name, self.id)
            raise


def from_datastore(datastore: Datastore, image: str) -> Source:
    """Find an image of the studies.

    Raises:
        NotFoundError: if the studies hold no image of this id.
    """
    # The grammar comes first: MONAI Label joins ids into paths as they are.
    uri = datastore.get_image_uri(image) if IMAGE_ID.fullmatch(image) else ""
    if not uri or not Path(uri).exists():
        raise unknown_image(image)
    return Source(Path(uri), image)


def unknown_image(image: str) -> NotFoundError:
    """Return the error for an id that no image of the studies has."""
    return NotFoundError(
        f"The studies hold no image {image[:255]!r}.",
        "GET /datastore/?output=all lists the ids; paths are not taken.",
    )


def from_session(sessions: Sessions | None, session_id: str, caller: Caller) -> Source:
    """Find the image of a session.

    Raises:
        NotFoundError: if there is no such session, any more or at all, or it is somebody else's.
    """
    session = sessions.get_session(session_id) if sessions is not None and SESSION_ID.fullmatch(session_id) else None
    owner = str((session.meta or {}).get("owner", "")) if session is not None else ""
    if session is None or not caller.sees(owner):
        raise NotFoundError(f"There is no session {session_id[:64]!r}.", "PUT /session/ sends an image and opens one.")
    # Not the file's name, which may be a patient's, and nothing of the id, which opens the session.
    return Source(Path(session.image), f"session-{hashlib.sha256(session_id.encode()).hexdigest()[:8]}", owner)


def from_upload(file: UploadFile, folder: Path, caller: Caller) -> Source:
    """Save an uploaded image under a name of ours in ``folder``; it is the caller's own.

    Raises:
        ParamsError: if its name does not end like an image's.
        MalformedError: if it is empty.
    """
    name = (file.filename or "").lower()
    endings = [ending for ending in READABLE if name.endswith(ending)]
    if not endings:
        raise ParamsError("The uploaded file's name does not end like an image's.", f"Send {', '.join(READABLE)}.")
    path = folder / f"upload{max(endings, key=len)}"
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)
    if not path.stat().st_size:
        raise MalformedError("The uploaded file is empty.", "Send an image.")
    return Source(path, "upload", caller.user)
