"""The images of an archive as a datastore of MONAI Label; labels and other saved data stay on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from monailabel.interfaces.datastore import DefaultLabelTag

from lib.dicomweb.cache import Cache
from lib.dicomweb.listing import FRESH, ArchiveListing
from lib.storage.study_folder import StudyFolder
from otherwise.errors import OtherwiseError
from otherwise.images.dicomweb.archive import UID, Archive, Entry
from otherwise.images.dicomweb.connection import ArchiveError, Connection, Patience
from otherwise.images.studies import digest

FETCHES = 4
"""Images that are looked for or fetched at once: an archive has others to serve, and so has this server."""
FETCH_WAIT = 20.0
"""Seconds that anybody waits for one of them to end."""
SAMPLE = 200
"""Images that background work may fetch unasked."""
_PLACEHOLDER = ".dcm"


class ReadOnlyError(OtherwiseError):
    """Images come from an archive, and cannot be added or removed here."""

    code = "read-only"
    status = 405


class DicomWebDatastore(StudyFolder):
    """Images are fetched from the archive when they are asked for, and read from a cache on disk.

    MONAI Label's own looks for CT only, converts to NIfTI (which loses what makes MONOCHROME1 and rescaled values what
    they are), lists once in two hours, waits for ever, and caches without limit.

    Args:
        archive: Whose images.
        folder: For labels, the list of images, and the cache.
        cache_limit: Bytes of images to keep.
        fresh: Seconds for which a list is taken for what there is.
    """

    def __init__(self, archive: Archive, folder: Path, cache_limit: int, fresh: float = FRESH) -> None:
        self.archive = archive
        self.cache = Cache(folder / "cache", cache_limit)
        self.listing = ArchiveListing(archive.images, folder / "images.json", fresh)
        self._fetching: dict[str, threading.Lock] = {}
        self._gate, self._slots = threading.Lock(), threading.BoundedSemaphore(FETCHES)
        # An image about which something was saved has an empty file there, by which MONAI Label knows it.
        super().__init__(str(folder / "labels"), extensions=[f"*{e}" for e in (_PLACEHOLDER, ".nrrd", ".nii.gz")])
        self.listing.entries()

    def name(self) -> str:
        """Return the address of the archive."""
        return self.archive.url

    def description(self) -> str:
        """Return whether the archive answers, in words."""
        problem = self.listing.problem
        return problem.detail if problem else "An archive"

    def list_images(self) -> list[str]:
        """Return the ids of all images; of the last list while the archive does not answer."""
        return list(self.listing.entries())

    def at_hand(self) -> list[str]:
        """Return the ids of images for background work: those in the cache, and a constant sample.

        The start of a server must not download a whole archive.
        """
        ids = sorted(self.list_images(), key=digest)
        return [*ids[:SAMPLE], *(id for id in ids[SAMPLE:] if self.cache.has(id))]

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the ids of images with a final label on this machine."""
        return [id for id in self.listing.entries() if DefaultLabelTag.FINAL in self.get_labels_by_image_id(id)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the ids of images without a final label on this machine."""
        return [id for id in self.listing.entries() if DefaultLabelTag.FINAL not in self.get_labels_by_image_id(id)]

    def has(self, id: str) -> bool:
        """Return whether there is an image; nothing is fetched.

        Raises:
            ArchiveError: if the archive is away, and had no such image before.
        """
        return bool(UID.fullmatch(id)) and self._entry(id) is not None

    def get_image_uri(self, image_id: str) -> str:
        """Return the folder of an image's DICOM files, fetched if necessary; empty if there is no such image.

        Raises:
            ArchiveError: if the archive is away, and the image was not fetched before.
            ImageError: if the image is larger than the cache.
            WriteError: if the disk refuses.
        """
        path = self.folder(image_id) if UID.fullmatch(image_id) else None
        return str(path) if path else ""

    def folder(self, id: str) -> Path | None:
        """Return the folder of an image's DICOM files as ``get_image_uri`` does; None if there is no such image."""
        with self._gate:
            lock = self._fetching.setdefault(id, threading.Lock())
        if not lock.acquire(timeout=FETCH_WAIT):
            raise ArchiveError(f"Image {id} is being fetched.", "Try again in a minute.")
        try:
            return self._fetched(id)
        finally:
            lock.release()
            with self._gate:
                if not lock.locked():
                    self._fetching.pop(id, None)

    def get_image(self, image_id: str, params: Any = None) -> NoReturn:
        """Refuse: an image is a folder of files."""
        raise ReadOnlyError(f"Image {image_id} is a folder of DICOM files.", "GET /datastore/image converts it.")

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return what is known of an image, without data of the patient."""
        return self._info(image_id, self.listing.entries().get(image_id))

    def _info(self, id: str, entry: Entry | None) -> dict[str, Any]:
        saved = {key: value for key, value in super().get_image_info(id).items() if key not in ("path", "name")}
        if entry is None:
            return saved
        uids = {"StudyInstanceUID": entry.study, "SeriesInstanceUID": entry.series}
        return {**uids, "Modality": entry.modality, "frames": entry.frames, **saved}

    def update_image_info(self, image_id: str, info: Mapping[str, Any]) -> None:
        """Save something about an image."""
        self._remember(image_id)
        super().update_image_info(image_id, dict(info))

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label on this machine; ``POST /otherwise/explanations/{id}/store`` is what the archive gets."""
        self._remember(image_id)
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> NoReturn:
        """Refuse."""
        raise ReadOnlyError("Images come from the archive.", "Send new ones there (STOW-RS); they appear here.")

    def remove_image(self, image_id: str) -> NoReturn:
        """Refuse."""
        raise ReadOnlyError("Images belong to the archive.", "Remove them there.")

    def get_dataset_archive(self, limit_cases: int | None) -> NoReturn:
        """Refuse."""
        raise ReadOnlyError("Images belong to the archive.", "Export them there.")

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Return images with a final label, and this label; the images are fetched."""
        tag = DefaultLabelTag.FINAL
        return [
            {"image": self.get_image_uri(id), "label": self.get_label_uri(id, tag)} for id in self.get_labeled_images()
        ]

    def status(self) -> dict[str, Any]:
        """Return counts of images and labels, and whether the archive answers."""
        problem = self.listing.problem
        return {**super().status(), "archive": problem.detail if problem else "ready"}

    def json(self) -> dict[str, Any]:
        """Return all images with their labels in MONAI Label's form."""
        content = super().json()
        saved = content["objects"]
        content["name"], content["description"] = self.name(), self.description()
        content["objects"] = {
            id: {
                "image": {"ext": "", "info": self._info(id, entry)},
                "labels": saved[id]["labels"] if id in saved else {},
            }
            for id, entry in self.listing.entries().items()
        }
        return content

    def studies(self) -> list[dict[str, Any]]:
        """Return all studies with their images, as ``/otherwise/studies`` lists them; nothing is fetched."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in self.listing.entries().values():
            image = {"id": entry.id, "modality": entry.modality, "view": entry.view, "frames": entry.frames}
            found.setdefault(entry.study, []).append(image)
        return [{"id": digest(study), "images": images} for study, images in found.items()]

    def _fetched(self, id: str) -> Path | None:
        kept = self.cache.find(id)
        try:
            entry = self._entry(id)
        except ArchiveError:
            if kept is None:
                raise
            return kept[1]
        if entry is None:
            self.cache.drop(id)  # removed from the archive, so it has no business here either
            return None
        if kept is not None and kept[0].count == entry.count:
            return kept[1]
        try:
            return self._fetch(entry)
        except ArchiveError:
            if kept is None:
                raise
            return kept[1]

    def _entry(self, id: str) -> Entry | None:
        entries = self.listing.entries()
        problem = self.listing.problem
        if id in entries or problem is None:
            return entries.get(id) or self._unlisted(id)
        raise problem

    def _unlisted(self, id: str) -> Entry | None:
        """Return an image that arrived after the last list or was left out of it; None if there is none."""
        with self._slot():
            entry = self.archive.find(id)
        if entry is not None:
            self.listing.add(entry)
        return entry

    def _fetch(self, entry: Entry) -> Path:
        def fill(folder: Path) -> None:
            self.archive.fetch(entry, folder, self.cache.limit)

        with self._slot():
            return self.cache.keep(entry.id, entry.count, fill)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Limit concurrent requests to the archive, so that requests that hang do not block all threads."""
        if not self._slots.acquire(timeout=FETCH_WAIT):
            raise ArchiveError("The archive is busy with others' images.", "Try again in a minute.")
        try:
            yield
        finally:
            self._slots.release()

    def _remember(self, id: str) -> None:
        if id in self.listing.entries() and not super().get_image_uri(id):
            (Path(self._datastore.image_path()) / f"{id}{_PLACEHOLDER}").touch()
            self.refresh()


def open_archive(url: str, search: Mapping[str, str], state: Path, cache_limit: int) -> DicomWebDatastore:
    """Return the datastore of an archive; the server starts even if the archive does not answer.

    Args:
        url: Of its DICOMweb service.
        search: See ``Archive``.
        state: Folder for everything that the server keeps.
        cache_limit: Bytes of images to keep.

    Raises:
        ArchiveError: if the address is none.
    """
    archive = Archive(Connection(url, Patience()), search)
    # Another archive, or another part of it, shares nothing with this one.
    (state / "archive").mkdir(mode=0o700, parents=True, exist_ok=True)  # patients' images
    name = hashlib.sha256(repr((archive.url, sorted(search.items()))).encode()).hexdigest()[:12]
    return DicomWebDatastore(archive, state / "archive" / name, cache_limit)
