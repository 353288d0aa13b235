"""MONAI Label's datastore of a folder, with a record that survives if the server is killed while writing it.

Nothing outside the folder is read or written, whatever an image, a tag or a link in the folder is called.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from lib.settings.params import ParamsError
from lib.storage.names import check_new_id, check_tag
from lib.storage.removal import remove_all
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path

logger = logging.getLogger(__name__)

RECORD = "datastore_v2.json"
"""MONAI Label's own name for it."""


class ExistsError(OtherwiseError):
    """Something of the same name exists."""

    code = "exists"
    status = 409


class StudyFolder(LocalDatastore):
    """Replaces files and its record as a whole; a damaged record is set aside and made again from the files.

    A change that the disk refuses changes nothing.

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
            ExistsError: if there is a file of this name, whatever it is.
            WriteError: if the disk refuses.
        """
        with self._door:
            target, ending = self._target(self._datastore.image_path(), check_new_id(image_id), image_filename)
            if target.exists():
                raise ExistsError(f"The studies hold a file {target.name!r} already.", "Choose another id.")
            # Write the record before the draft gets its name: a full disk may refuse the one, but not the other.
            with atomic_path(target) as draft, self._recorded():
                shutil.copyfile(image_filename, draft)
                info = {**(image_info or {}), "ts": int(time.time()), "name": target.name}
                self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=ending))
            return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Copy a label into the folder of its tag; the image's former label of the tag is replaced.

        Raises:
            ParamsError: if the tag is no plain name, or a link leads out of the folder.
            ImageNotFoundException: if there is no such image.
            WriteError: if the disk refuses; the former label is kept.
        """
        tag = check_tag(_text(label_tag))
        with self._door:
            if image_id not in self._datastore.objects:
                raise ImageNotFoundException(f"Image {image_id} not found")
            target, ending = self._target(self._datastore.label_path(tag), image_id, label_filename)
            with atomic_path(target) as draft, self._recorded():  # the record first, as in ``add_image``
                shutil.copyfile(label_filename, draft)
                info = {**(label_info or {}), "ts": int(time.time()), "name": target.name}
                self._datastore.objects[image_id].labels[tag] = DataModel(info=info, ext=ending)
            remove_all([file for file in self._label_files(image_id, tag) if file != target.resolve()])
            return image_id

    def remove_image(self, image_id: str) -> None:
        """Delete an image and its labels.

        Raises:
            ImageNotFoundException: if there is no such image.
            StorageError: if the disk refuses; nothing is deleted then.
        """
        with self._door:
            files = self._image_files(image_id)
            labels = [
                file for tag in self.get_labels_by_image_id(image_id) for file in self._label_files(image_id, tag)
            ]
            remove_all([*files, *labels])
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete a label, and its entry in the record at once: the watch on the folder comes later, if ever.

        Raises:
            StorageError: if the disk refuses; nothing is deleted then.
        """
        with self._door:
            remove_all(self._label_files(label_id, _text(label_tag)))
            self.refresh()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Store data about an image.

        Raises:
            WriteError: if the disk refuses.
        """
        with self._door, self._recorded():
            record = self._datastore.objects.get(image_id)
            if record is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            record.image.info.update(info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Store data about a label.

        Raises:
            WriteError: if the disk refuses.
        """
        with self._door, self._recorded():
            label = self._datastore.label(label_id, label_tag)
            if label is None:
                raise LabelNotFoundException(f"Label {label_id} of tag {label_tag} not found")
            label.info.update(info)

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

    def _to_id(self, file: str) -> tuple[str, str]:
        """Return a file's name without its ending, and the ending. MONAI Label would remove an inner ending as well."""
        _, ending = super()._to_id(file)
        return file.removesuffix(ending), ending

    def _target(self, folder: str, id: str, filename: str) -> tuple[Path, str]:
        """Return where an uploaded file goes, and its ending.

        Raises:
            ParamsError: if a link leads out of the studies.
        """
        _, ending = self._to_id(Path(filename).name)
        target = Path(folder) / self._filename(id, ending)
        if not self._contained(str(target)):
            raise ParamsError(f"{id[:64]!r} leads out of the studies.", "Remove the link from the folder.")
        return target, ending

    def _image_files(self, image_id: str) -> list[Path]:
        """Return the files of an image."""
        path = self.get_image_uri(image_id)
        if not path:
            raise ImageNotFoundException(f"Image {image_id} not found")
        return [Path(path)]

    def _label_files(self, image_id: str, tag: str) -> list[Path]:
        """Return the files of a label: the recorded one, and those that earlier servers left with another ending."""
        folder = Path(self._datastore.label_path(tag))
        if not folder.is_dir() or not self._contained(str(folder)):
            return []
        names = [name for name in self._list_files(str(folder), self._extensions) if self._to_id(name)[0] == image_id]
        recorded = self.get_label_uri(image_id, tag)
        paths = [folder / name for name in names] + ([Path(recorded)] if recorded else [])
        return list(dict.fromkeys(path.resolve() for path in paths))

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Write the record after a change of it; where something fails, go back to the record on the disk."""
        try:
            yield
            self._update_datastore_file()
        except Exception:
            self._config_ts = 0.0
            self._init_from_datastore_file()
            raise

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


def _text(tag: str) -> str:
    """Return a tag as text; MONAI Label has an enumeration of some."""
    return str(getattr(tag, "value", tag))
