"""MONAI Label's datastore of a folder, with a record that survives if the server is killed while writing it.

Nothing outside the folder is read or written, whatever an image, a tag or a link in the folder is called.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore

from lib.settings.params import ParamsError
from lib.storage.names import check_new_id, check_tag
from otherwise.images.atomic import atomic_path

logger = logging.getLogger(__name__)

RECORD = "datastore_v2.json"
"""MONAI Label's own name for it."""


class StudyFolder(LocalDatastore):
    """Replaces its record as a whole; a damaged record is set aside and made again from the files.

    Args:
        folder: The studies.
        options: See ``LocalDatastore``.
    """

    def __init__(self, folder: str, **options: Any) -> None:
        set_damaged_aside(Path(folder) / RECORD)
        self._door = threading.RLock()  # requests, teaching and the watch on the folder come on threads of their own
        super().__init__(folder, **options)

    def get_image_uri(self, image_id: str) -> str:
        """Return the path of an image; empty if there is none, or a link leads out of the folder."""
        return self._contained(super().get_image_uri(image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return the data stored about an image."""
        return dict(super().get_image_info(image_id)) if StudyFolder.has(self, image_id) else {}

    def has(self, id: str) -> bool:
        """Return whether there is an image."""
        return bool(self._contained(super().get_image_uri(id)))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the path of a label; empty if there is none, or a link leads out of the folder."""
        return self._contained(super().get_label_uri(label_id, label_tag))

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return images with their final labels, without links that lead out of the folder."""
        pairs = super().datalist(full_path)
        return [pair for pair in pairs if not full_path or all(self._contained(path) for path in pair.values())]

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy an image into the folder.

        Raises:
            ParamsError: if a file cannot be called so, or lies elsewhere.
        """
        with self._door:
            self._check_target(self._datastore.image_path(), check_new_id(image_id), image_filename)
            return str(super().add_image(image_id, image_filename, image_info))

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Copy a label into the folder of its tag.

        Raises:
            ParamsError: if the tag is no plain name, or a link leads out of the folder.
        """
        with self._door:
            folder = self._datastore.label_path(check_tag(str(getattr(label_tag, "value", label_tag))))
            self._check_target(folder, image_id, label_filename)
            return str(super().save_label(image_id, label_filename, label_tag, label_info))

    def remove_image(self, image_id: str) -> None:
        """Delete an image and its labels."""
        with self._door:
            super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete a label, and its entry in the record at once: the watch on the folder comes later, if ever."""
        with self._door:
            super().remove_label(label_id, label_tag)
            self.refresh()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Store data about an image."""
        with self._door:
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Store data about a label."""
        with self._door:
            super().update_label_info(label_id, label_tag, info)

    def status(self) -> dict[str, Any]:
        """Return the numbers of images and of labels of each tag."""
        with self._door:
            return dict(super().status())

    def json(self) -> dict[str, Any]:
        """Return the whole record."""
        with self._door:
            return dict(super().json())

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        found = dict(super()._list_files(path, patterns))
        outside = {
            name for name in found if Path(path, name).is_symlink() and not self._contained(str(Path(path, name)))
        }
        if outside:
            logger.warning(
                "%d links that lead out of the studies are passed over; link the whole folder.", len(outside)
            )
        return {name: file for name, file in found.items() if name not in outside}

    def _reconcile_datastore(self) -> None:
        with self._door:
            super()._reconcile_datastore()

    def _contained(self, path: str) -> str:
        root = Path(self._datastore_path).resolve()
        return path if path and Path(path).resolve().is_relative_to(root) else ""

    def _check_target(self, folder: str, id: str, filename: str) -> None:
        _, ending = self._to_id(Path(filename).name)
        if not self._contained(str(Path(folder) / self._filename(id, ending))):
            raise ParamsError(f"{id[:64]!r} leads out of the studies.", "Remove the link from the folder.")

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
