"""Download images of an archive to a folder, for commands that read folders."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images.dicomweb.archive import UID, Archive, Entry
from otherwise.images.dicomweb.connection import Connection

MOST_BYTES = 32 * 2**30
"""Largest image in bytes."""
_TEMPORARY = "otherwise-archive-"
_LETTERS = re.compile(r"[^A-Za-z0-9]")
_PLACE = re.compile(
    r"(?P<url>.+?)/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+)(/instances/(?P<instance>[^/]+))?)?"
)


def download(address: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Fetch the images of an address into a temporary folder, which is removed when the process ends.

    Args:
        address: DICOMweb service (all its images), or a study, series or instance in it
            (``https://HOST/dicom-web/studies/1.2/series/1.3``, PS3.18 10.1.1), without credentials: these are taken
            from the environment, see ``connection``.
        progress: Called after each image with the number fetched and the total.

    Returns:
        A folder that only this user can read, with a folder of DICOM files for each image; of one image its own folder,
        or its one file.

    Raises:
        ImageError: if the address is invalid or has no image.
        ArchiveError: if the archive is away or refuses.
        WriteError: if the files cannot be written.
    """
    found = _PLACE.fullmatch(address.rstrip("/"))
    url = found["url"] if found else address
    wanted = {name: found[name] for name in ("study", "series", "instance") if found[name]} if found else {}
    for name, uid in wanted.items():
        if not UID.fullmatch(uid):
            raise ImageError(f"{uid} is no identifier of a DICOM {name}.", "Give .../studies/UID/series/UID.")
    search = {f"{name.capitalize()}InstanceUID": uid for name, uid in wanted.items() if name != "instance"}
    archive = Archive(Connection(url), search)
    entries = list(_matching(archive, wanted))
    if not entries:
        raise ImageError("The archive has no image there.", "Look for its studies: otherwise studies ADDRESS.")
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for done, entry in enumerate(entries):
        progress(done, len(entries))
        place = folder / f"{_LETTERS.sub('', entry.modality)[:8]}-{done + 1:04d}"
        place.mkdir()
        archive.fetch(entry, place, MOST_BYTES)
    progress(len(entries), len(entries))
    if len(entries) > 1:
        return folder
    files = sorted(place.iterdir())
    return files[0] if len(files) == 1 else place


def download_named(address: str, name: str) -> Path:
    """Fetch one image of an archive, as a table of labels names it.

    Args:
        address: DICOMweb service, see ``download``.
        name: Path below the address (``studies/1.2/series/1.3``), or the UID of a study, series or instance.

    Returns:
        Its folder or file, see ``download``.

    Raises:
        ImageError: if there is no such image, or several.
        ArchiveError: if the archive is away or refuses.
        WriteError: if the files cannot be written.
    """
    base, place = address.rstrip("/"), name.strip("/")
    if UID.fullmatch(place):
        place = Archive(Connection(base)).path_of(place)
    fetched = download(f"{base}/{place}")
    if fetched.name.startswith(_TEMPORARY):
        raise ImageError(f"The archive has several images at {name}.", "Name a series or an instance.")
    return fetched


def _matching(archive: Archive, wanted: dict[str, str]) -> Iterator[Entry]:
    """Yield the images of the study, series or instance; some archives return more than requested."""
    for entry in archive.images():
        own = {"study": entry.study, "series": entry.series, "instance": entry.instance or wanted.get("instance", "")}
        if all(own[name] == uid for name, uid in wanted.items()):
            yield entry
