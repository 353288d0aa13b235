"""MONAI Label's datastore of a folder, whose record survives that the server is killed while it is written."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore

from otherwise.images.atomic import atomic_path

logger = logging.getLogger(__name__)

RECORD = "datastore_v2.json"
"""MONAI Label's own name for it."""


class SafeDatastore(LocalDatastore):
    """Replaces its record as a whole; one that is damaged is set aside, and made anew from the files that are there.

    Args:
        folder: The studies.
        options: See ``LocalDatastore``.
    """

    def __init__(self, folder: str, **options: Any) -> None:
        set_damaged_aside(Path(folder) / RECORD)
        super().__init__(folder, **options)

    def _update_datastore_file(self, lock: bool = True) -> None:
        path = Path(self._datastore_config_path)
        with FileLock(self._lock_file) if lock else nullcontext():
            content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
            self._ignore_event_config = True
            with atomic_path(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
            self._config_ts = os.stat(path).st_mtime  # noqa: PTH116 as MONAI Label compares it


def set_damaged_aside(record: Path) -> Path | None:
    """Rename a record that is no JSON, so that the server starts; nothing is deleted.

    Returns:
        Where it is now; None where it is sound, or there is none.
    """
    if not record.is_file():
        return None
    try:
        json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        aside = record.with_name(f"{record.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
        record.rename(aside)
        logger.warning("The record of the studies was damaged; it is %s now, and made anew.", aside.name)
        return aside
    return None
