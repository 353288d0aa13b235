"""The studies that a server offers: every image of a folder that ``otherwise.images.listing`` finds, under a stable id.

A DICOM series, and voxels with a header apart, are offered as one NRRD file, which is made when somebody asks for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel
from monailabel.interfaces.exception import ImageNotFoundException
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from lib.settings.params import ParamsError
from lib.storage.study_folder import RECORD, StudyFolder
from otherwise.images.atomic import atomic_path
from otherwise.images.examination import ExaminedFiles
from otherwise.images.listing import FoundImage, Listing, list_images
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 0.5
"""Without a change in the folder, after which it is looked through again."""


class ServedFolder(StudyFolder):
    """MONAI Label's datastore of a folder at every depth.

    Ids are file names without ending where these are unique; once given, an id stays with its file. The record of the
    images and the labels lie in the folder, or in the state where the folder is read-only.

    Args:
        folder: The studies.
        state: The server's own folder, for what is made here; it is no part of the studies.
        watch: Whether changes in the folder are followed.
        options: See ``LocalDatastore``.
    """

    def __init__(self, folder: str, state: Path, watch: bool = False, **options: Any) -> None:
        self._images_folder = Path(folder).resolve()
        self._state = state
        self._found: dict[str, FoundImage] = {}
        self._examined: ExaminedFiles = {}
        self._left_out = ""
        if not is_writable(self._images_folder):
            logger.warning("The studies are read-only: labels and the record of images are kept in the state folder.")
            folder = str(state / "labels-of-studies")
            Path(folder).mkdir(parents=True, exist_ok=True)
            options["images_dir"] = str(self._images_folder)
        super().__init__(folder, **options)
        self._watch = _Watch(self) if watch else None

    @property
    def left_out(self) -> str:
        """Return what the folder holds besides images, in one line."""
        return self._left_out

    def found_images(self) -> dict[str, FoundImage]:
        """Return the images by id."""
        with self._door:
            return dict(self._found)

    def get_image_uri(self, image_id: str) -> str:
        """Return the path of an image, made if need be; empty where there is none.

        Raises:
            OtherwiseError: if the slices of a series are no volume.
        """
        found = self._found.get(image_id)
        if found is None:
            return ""
        return str(self._converted(found) if len(found.files) > 1 else found.files[0].resolve())

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return the data stored about an image."""
        found, record = self._found.get(image_id), self._datastore.objects.get(image_id)
        if found is None or record is None:
            return {}
        return {**record.image.info, "path": str(found.files[0])}

    def has(self, id: str) -> bool:
        """Return whether there is an image."""
        return id in self._found

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return images with their final labels."""
        labelled = [id for id in self.get_labeled_images() if id in self._found]
        return [{"image": self.get_image_uri(id), "label": self.get_label_uri(id, "final")} for id in labelled]

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy an image into the folder.

        Raises:
            ParamsError: if the folder is read-only, or a file cannot be called so or lies elsewhere.
        """
        if not is_writable(self._images_folder):
            raise ParamsError("The studies are read-only.", "Add the image where the folder is kept.")
        id = super().add_image(image_id, image_filename, image_info)
        self.refresh()
        return id

    def remove_image(self, image_id: str) -> None:
        """Delete an image with all its files, wherever they lie in the folder, its converted copy and its labels.

        Raises:
            ParamsError: if the folder is read-only.
            ImageNotFoundException: if there is no such image.
            StorageError: if the disk refuses; nothing is deleted then.
        """
        if not is_writable(self._images_folder):
            raise ParamsError("The studies are read-only.", "Remove the image where the folder is kept.")
        super().remove_image(image_id)

    def close(self) -> None:
        """Stop following the folder."""
        if self._watch is not None:
            self._watch.stop()

    def _reconcile_datastore(self) -> None:
        with self._door:
            listing = list_images(self._images_folder, without=self._state, examined=self._examined, empty=True)
            self._found = self._with_stable_ids(_contained(listing, self._images_folder))
            own = (RECORD, ".lock")
            others = (item for item in listing.left_out if item.name not in own and not item.name.startswith("labels/"))
            line = replace(listing, left_out=tuple(others)).summary
            if line != self._left_out:
                logger.info("Studies: %s", line)
            self._left_out = line
            super()._reconcile_datastore()

    def _with_stable_ids(self, images: list[FoundImage]) -> dict[str, FoundImage]:
        """Give each file the id that the record knows it by, and new ones an id that no other has."""
        self._init_from_datastore_file()
        known = {str(model.image.info.get("name", "")): id for id, model in self._datastore.objects.items()}
        taken = {known[image.name] for image in images if image.name in known}
        found = {}
        for image in images:
            id = known.get(image.name)
            if id is None:
                id = image.id if image.id not in taken else f"{image.id}-{image.key[:6]}"
                taken.add(id)
            found[id] = image
        return found

    def _add_non_existing_images(self) -> int:
        """Record the images that are new. MONAI Label's name for it."""
        new = [id for id in self._found if id not in self._datastore.objects]
        for id in new:
            image = self._found[id]
            ending = "".join(image.files[0].suffixes[-1:])
            info = {"ts": int(time.time()), "name": image.name}
            self._datastore.objects[id] = ImageLabelModel(image=DataModel(info=info, ext=ending))
        return len(new)

    def _remove_non_existing(self) -> int:
        """Forget images and labels whose files are gone. MONAI Label's name for it."""
        objects, gone = self._datastore.objects, 0
        for id in [id for id in objects if id not in self._found]:
            del objects[id]
            gone += 1
        for id, model in objects.items():
            for tag in [tag for tag in model.labels if not Path(self.get_label_uri(id, tag) or "?").exists()]:
                del model.labels[tag]
                gone += 1
        return gone

    def _image_files(self, image_id: str) -> list[Path]:
        # Not what is called like the id, which may be another image's file.
        found = self._found.get(image_id)
        if found is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        return [*found.files, *self._copies(found)]

    def _converted(self, found: FoundImage) -> Path:
        """Return one NRRD file of an image of several files; it is made once for each state of them."""
        newest = max(file.stat().st_mtime_ns for file in found.files)
        target = self._state / "converted" / f"{found.key}-{len(found.files)}-{newest}.nrrd"
        with self._door:
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                for older in self._copies(found):
                    older.unlink(missing_ok=True)
                image = read_image(found)
                with atomic_path(target) as draft:
                    write_image(image, draft)
        return target

    def _copies(self, found: FoundImage) -> list[Path]:
        """Return the converted files of an image."""
        return list((self._state / "converted").glob(f"{found.key}-*.nrrd"))


class _Watch(FileSystemEventHandler):
    """Reads the folder again once nothing has changed in it for a moment."""

    def __init__(self, folder: ServedFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        path = str(folder._images_folder)
        self._observer = PollingObserver() if folder._is_on_mount(path) else Observer()
        try:
            self._observer.schedule(self, path, recursive=True)
            self._observer.start()
        except OSError as error:
            logger.warning("The studies cannot be watched (%s); new images appear when the server starts.", error.errno)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a change; reads and changes of our own record are none."""
        name = os.path.basename(os.fsdecode(event.src_path))  # noqa: PTH119
        if event.event_type in ("opened", "closed_no_write") or name.startswith((".", RECORD)) or event.is_directory:
            return
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(_QUIET_SECONDS, self._folder.refresh)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """End."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        if self._observer.is_alive():
            self._observer.stop()


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in a folder."""
    return os.access(folder, os.W_OK | os.X_OK)


def _contained(listing: Listing, root: Path) -> list[FoundImage]:
    """Return the images whose files lie within the folder, links resolved."""
    inside = [image for image in listing.images if all(file.resolve().is_relative_to(root) for file in image.files)]
    outside = len(listing.images) - len(inside)
    if outside:
        logger.warning("%d links that lead out of the studies are passed over; link the whole folder.", outside)
    return inside
