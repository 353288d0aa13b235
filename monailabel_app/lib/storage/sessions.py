"""MONAI Label's sessions; damaged or crafted ones are ignored."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from lib.storage.image_sources import SESSION_ID
from lib.storage.owners import CALLER
from otherwise.images.atomic import atomic_path

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 3600
"""A folder without a record is an upload that still goes on, until it is older than this."""


class SafeSessions(Sessions):
    """Sessions that join no malformed id into a path, and ignore records that name files elsewhere."""

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Store an upload of the caller under an id that cannot be guessed."""
        id, session = super().add_session(data_file, expiry, uncompress, session_id or str(uuid.uuid4()))
        session.meta = {"owner": CALLER.get().user}
        self._write_meta_info(id, session)
        return id, session

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """Return a session; None if there is none, or it is damaged."""
        if not SESSION_ID.fullmatch(session_id):
            return None
        try:
            found: SessionInfo | None = super().get_session(session_id, update_ts, fetch_cache)
        except (ValueError, OSError, AttributeError, TypeError) as error:  # of its record
            logger.warning("A session is damaged (%s).", type(error).__name__)
            return None
        if found is None or not self._inside(session_id, found):
            self.pop(session_id, None)
            return None
        return found

    def remove_session(self, session_id: str) -> None:
        """Delete a session; nothing else."""
        if SESSION_ID.fullmatch(session_id):
            super().remove_session(session_id)

    def remove_expired(self) -> int:
        """Delete what has expired or is damaged; MONAI Label stops at the first damaged one, also when it starts."""
        store, now, count = Path(self.store_path), time.time(), 0
        for folder in store.iterdir() if store.is_dir() else ():
            found = self.get_session(folder.name, update_ts=False, fetch_cache=False)
            if found is None:
                expired = now - folder.lstat().st_mtime > UPLOAD_SECONDS
            else:
                expired = 0 < found.expiry < now - found.last_access_ts
            if expired:
                self.pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        return count

    def _inside(self, session_id: str, session: SessionInfo) -> bool:
        folder = (Path(self.store_path) / session_id).resolve()
        return Path(session.image).resolve().parent == folder

    def _write_meta_info(self, session_id: str, session_info: Any) -> None:
        with atomic_path(Path(self.store_path) / session_id / "meta.info") as temporary:
            temporary.write_text(session_info.to_str(), encoding="utf-8")
