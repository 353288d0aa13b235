"""Explanations as DICOM objects of their image's study: written on request, and stored in the archive."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom

from lib.storage.explanation_store import ExplanationStore, read_content
from lib.teaching.service import TeachingService
from otherwise.images.dicomweb.archive import Archive
from otherwise.images.dicomweb.connection import ArchiveError
from otherwise.report.dicom.c_store import Node, send


class NotStoredError(ArchiveError):
    """The archive stored none of the objects."""

    code = "archive-refused"
    status = 502


class DicomObjects:
    """The DICOM objects of explanations, with the present names of regions.

    They are stored in the explanation's folder, once for each version of the names.

    Args:
        store: Of explanations.
        teaching: Knows the names.
        source: From an image's id to its file or folder; raises if there is none.
    """

    def __init__(self, store: ExplanationStore, teaching: TeachingService, source: Callable[[str], Path]) -> None:
        self.store, self.teaching, self.source = store, teaching, source
        self._lock = threading.Lock()  # one at a time: each reads the image, and may need much memory

    def files(self, id: str) -> dict[str, Path]:
        """Return the files by name, see ``otherwise.report.dicom.write.write_dicom``.

        Raises:
            NotFoundError: if there is no such explanation, or its image is not in the studies.
            ArchiveError: if its image has to be fetched, and the archive is away.
            DicomError: if its image is no DICOM, or lacks what cannot be left out.
            WriteError: if the disk refuses.
        """
        # Not before: highdicom takes half a second, which a start need not wait for.
        from otherwise.report.dicom.creation import Creation, digest_of
        from otherwise.report.dicom.write import write_dicom

        parent = self.store.folder(id)
        content, names = read_content(parent), self.teaching.names(id)
        content = names.put_into_json(content) if names else content
        folder = parent / f"dicom-{digest_of(content)[:16]}"
        with self._lock:
            if not folder.is_dir():
                explanation = self.teaching.explanation(id)
                named = names.put_into(explanation) if names else explanation
                write_dicom(named, self.source(explanation.image_id), folder, creation=Creation.of(content))
                for older in parent.glob("dicom-*"):
                    if older != folder:
                        shutil.rmtree(older, ignore_errors=True)
        return {path.stem: path for path in sorted(folder.glob("*.dcm"))}


def store_back(archive: Archive, files: dict[str, Path]) -> dict[str, Any]:
    """Store objects in the archive, each once.

    Args:
        archive: The archive.
        files: By name, see ``DicomObjects.files``.

    Returns:
        ``{"stored": [{name, kind, study, series, instance, url}], "failed": [{name, kind, instance, reason}]}``.

    Raises:
        NotStoredError: if it stores none of them.
        ArchiveError: if it does not answer.
    """
    reply = _describe(files, {name: archive.store(path) for name, path in files.items()})
    for one in reply["stored"]:
        one["url"] = f"{archive.url}/studies/{one['study']}/series/{one['series']}/instances/{one['instance']}"
    return reply


def send_back(node: Node, files: dict[str, Path]) -> dict[str, Any]:
    """Store objects in an archive by C-STORE.

    Args:
        node: The archive.
        files: By name, see ``DicomObjects.files``.

    Returns:
        As ``store_back``, with ``archive`` (``AET@HOST:PORT``) in the place of ``url``.

    Raises:
        NotStoredError: if it stores none of them.
        ArchiveError: if it does not answer.
        ArchiveRefusedError: if it does not accept us.
    """
    reply = _describe(files, send(files, node))
    for one in reply["stored"]:
        one["archive"] = str(node)
    return reply


def _describe(files: dict[str, Path], reasons: dict[str, str]) -> dict[str, Any]:
    """Return the stored and the refused objects; the reason of a stored one is empty."""
    stored, failed = [], []
    for name, path in files.items():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        about = {"name": name, "kind": header.SOPClassUID.name, "instance": str(header.SOPInstanceUID)}
        if reasons[name]:
            failed.append({**about, "reason": reasons[name]})
        else:
            stored.append({**about, "study": str(header.StudyInstanceUID), "series": str(header.SeriesInstanceUID)})
    if not stored:
        raise NotStoredError(f"The archive kept nothing: {failed[0]['reason']}", "Look at the archive's log.")
    return {"stored": stored, "failed": failed}
