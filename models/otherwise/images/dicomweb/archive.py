"""List the images of an archive (QIDO-RS), fetch their instances (WADO-RS), and store objects (STOW-RS)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client import DICOMwebClient
from pydicom.uid import ParametricMapStorage

from otherwise.errors import ImageError
from otherwise.images.atomic import atomic_path
from otherwise.images.dicom_status import refusal
from otherwise.images.dicomweb.connection import ArchiveError, ArchiveRefusedError, Connection
from otherwise.images.exclusion import OWN_MANUFACTURER

UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
"""Pattern of a UID (PS3.5 9.1); leading zeros, which some devices write, are allowed."""

VOLUMES = ("CT", "MR", "PT", "NM")
"""Modalities whose series are one volume; of all others each instance may be an image of its own."""

NO_IMAGES = (
    *("SEG", "SR", "PR", "KO", "REG", "FID", "RWV", "PLAN", "ANN", "M3D", "DOC", "ECG", "EPS", "HD", "AU", "SM"),
    *("RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "RTSEGANN"),
)
"""Modalities of drawings, documents, waveforms and whole slides, which are not read."""

MOST_IMAGES = 10_000
_PAGE = 500
_ANYTHING = (("application/dicom", "*"),)  # as stored, since conversion by the archive can lose data
_NO_IMAGE_CLASSES = (ParametricMapStorage,)
_TAGS = {
    "study": "0020000D",
    "series": "0020000E",
    "instance": "00080018",
    "kind": "00080016",
    "modality": "00080060",
    "manufacturer": "00080070",
    "count": "00201209",
    "frames": "00280008",
    "position": "00200032",
    "orientation": "00200037",
    "laterality": "00200062",
    "view": "00185101",
}


@dataclass(frozen=True)
class Entry:
    """One image of an archive: a series of slices, or one instance.

    Attributes:
        id: UID of the series, or of the instance.
        study: UID of its study.
        series: UID of its series.
        modality: DICOM modality, such as MG.
        count: Instances of the series.
        instance: UID of the instance; empty if the image is the whole series.
        view: Laterality and view, such as ``R MLO``; empty where unknown.
        frames: Slices, or frames of the instance.
    """

    id: str
    study: str
    series: str
    modality: str
    count: int
    instance: str = ""
    view: str = ""
    frames: int = 1


class Archive:
    """An archive's images.

    Args:
        connection: Connection to the archive.
        search: Attributes that series must have, such as ``{"Modality": "MG", "StudyDate": "20260101-"}``.
    """

    def __init__(self, connection: Connection, search: Mapping[str, str] | None = None) -> None:
        self.connection, self.search = connection, dict(search or {})

    @property
    def url(self) -> str:
        """Return the address of the DICOMweb service."""
        return self.connection.url

    def images(self, known: Sequence[Entry] = ()) -> Iterator[Entry]:
        """Yield all images, at most ``MOST_IMAGES`` series.

        Args:
            known: Entries of an earlier list; unchanged series are not searched again.

        Raises:
            ArchiveError: if the archive is away or refuses.
        """
        before: dict[tuple[str, int], list[Entry]] = {}
        for entry in known:
            before.setdefault((entry.series, entry.count), []).append(entry)
        seen: set[str] = set()
        for offset in range(0, MOST_IMAGES, _PAGE):
            page = self._series(self.search, offset)
            new = [one for one in page if one["series"] not in seen]
            for one in new:
                seen.add(one["series"])
                yield from before.get((one["series"], one["count"])) or self._images(one)
            if len(page) < _PAGE or not new:  # some archives ignore the offset and repeat their answer
                return

    def find(self, id: str) -> Entry | None:
        """Return one image, whether listed or not; None if there is none.

        Raises:
            ArchiveError: if the archive is away or refuses.
        """
        if not UID.fullmatch(id):
            return None
        for one in self._series({**self.search, "SeriesInstanceUID": id}):
            if one["series"] == id:  # some archives ignore attributes that they cannot search for
                return next((entry for entry in self._images(one) if entry.id == id), None)
        found = self._ask(lambda client: client.search_for_instances(search_filters={"SOPInstanceUID": id}, limit=2))
        for series in {str(one["series"]) for one in found if one["instance"] == id}:
            for one in self._series({**self.search, "SeriesInstanceUID": series}):
                if one["series"] == series:
                    return next((entry for entry in self._images(one) if entry.id == id), None)
        return None

    def path_of(self, uid: str) -> str:
        """Return the path below the service of a series or instance; of any other UID, that of a study.

        Raises:
            ArchiveError: if the archive is away or refuses.
        """
        for one in self._series({"SeriesInstanceUID": uid}):
            if one["series"] == uid:  # some archives ignore attributes that they cannot search for
                return f"studies/{one['study']}/series/{uid}"
        found = self._ask(lambda client: client.search_for_instances(search_filters={"SOPInstanceUID": uid}, limit=2))
        for one in found:
            if one["instance"] == uid:
                return f"studies/{one['study']}/series/{one['series']}/instances/{uid}"
        return f"studies/{uid}"

    def fetch(self, entry: Entry, folder: Path, most: int) -> int:
        """Write the instances of an image into an empty folder, one file each, as they were stored.

        Args:
            entry: The image.
            folder: Target; emptied before another attempt.
            most: Largest size in bytes.

        Returns:
            Number of files.

        Raises:
            ArchiveError: if the archive is away, refuses, or sends less than there is.
            ImageError: if the image exceeds ``most``.
            WriteError: if the files cannot be written.
        """
        place = entry.study, entry.series

        def fetch(client: DICOMwebClient) -> int:
            for left in folder.iterdir():
                left.unlink()
            instances = (
                iter([client.retrieve_instance(*place, entry.instance, media_types=_ANYTHING)])
                if entry.instance
                else client.iter_series(*place, media_types=_ANYTHING)
            )
            size, names = 0, set()
            for instance in instances:
                uid = str(instance.SOPInstanceUID)
                if str(instance.SeriesInstanceUID) != entry.series or (entry.instance and uid != entry.instance):
                    raise ValueError("an instance of another image")
                name = f"{hashlib.sha256(uid.encode()).hexdigest()[:24]}.dcm"
                with atomic_path(folder / name) as temporary:  # the error names a full disk
                    instance.save_as(temporary)
                names.add(name)
                size += (folder / name).stat().st_size
                if size > most:
                    raise ImageError(
                        f"Image {entry.id} is larger than {most >> 20} MiB.", "Allow for more by dicomweb_cache_mib."
                    )
            return len(names)

        count = self.connection.ask(fetch)
        if count < (1 if entry.instance else entry.count):
            raise ArchiveError(f"The archive sent {count} of {entry.count} instances.", "Try again in a minute.")
        return count

    def store(self, file: Path) -> str:
        """Store an object and verify that it is kept: Orthanc reports success for objects that its filter drops.

        Args:
            file: A DICOM file; storing it a second time has no effect.

        Returns:
            Empty if the archive has it, else the reason.

        Raises:
            ArchiveError: if the archive is away.
        """
        data = pydicom.dcmread(file)
        study, series, instance = (str(data.get(f"{name}InstanceUID", "")) for name in ("Study", "Series", "SOP"))
        try:
            self.connection.ask(lambda client: client.store_instances([data]))
        except ArchiveRefusedError as error:
            return _why_not(error, instance)
        found = self._ask(
            lambda client: client.search_for_instances(study, series, search_filters={_TAGS["instance"]: instance})
        )
        return "" if any(one["instance"] == instance for one in found) else "The archive took it, and does not have it."

    def _series(self, search: Mapping[str, str], offset: int = 0) -> list[dict[str, Any]]:
        fields = [_TAGS[name] for name in ("modality", "manufacturer", "count")]
        return self._ask(
            lambda client: client.search_for_series(
                fields=fields, limit=_PAGE, offset=offset, search_filters=dict(search) or None
            )
        )

    def _images(self, series: Mapping[str, Any]) -> list[Entry]:
        """Return the images of a series; none where it holds other objects."""
        uids, modality, count = (series["study"], series["series"]), str(series["modality"] or "OT"), series["count"]
        if not all(uids) or modality in NO_IMAGES or series["manufacturer"] == OWN_MANUFACTURER:
            return []
        if modality in VOLUMES:
            return [Entry(uids[1], *uids, modality, count, frames=count)]
        fields = [_TAGS[name] for name in ("kind", "frames", "position", "orientation", "laterality", "view")]
        found = self._ask(lambda client: client.search_for_instances(*uids, fields=fields))
        found = [one for one in found if one["kind"] not in _NO_IMAGE_CLASSES]
        if len(found) == 1:
            return [Entry(uids[1], *uids, modality, count, view=_view(found[0]), frames=found[0]["frames"])]
        # As otherwise.images.studies has it of files.
        if found and all(one["position"] and one["orientation"] for one in found):
            return [Entry(uids[1], *uids, modality, count, frames=len(found))]
        return [
            Entry(one["instance"], *uids, modality, count, one["instance"], _view(one), one["frames"])
            for one in found
            if one["instance"]
        ]

    def _ask(self, question: Callable[[DICOMwebClient], Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        return self.connection.ask(lambda client: [_read(one) for one in question(client)])


def _read(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes in use of one match in DICOM JSON (PS3.18 F)."""
    if _TAGS["series"] not in item:
        raise ValueError("no match of a search")
    values = {name: next(iter(item.get(tag, {}).get("Value") or ()), None) for name, tag in _TAGS.items()}
    for name in ("study", "series", "instance"):
        if not UID.fullmatch(str(values[name])):
            values[name] = None
    return {**values, "count": int(values["count"] or 1), "frames": int(values["frames"] or 1)}


def _view(one: Mapping[str, Any]) -> str:
    return " ".join(str(one[name]) for name in ("laterality", "view") if one[name])


def _why_not(error: ArchiveRefusedError, instance: str) -> str:
    """Return an archive's reason for not storing an object (PS3.18 10.5.3), if it gives one."""
    response = getattr(error.__cause__, "response", None)
    try:
        answer = pydicom.Dataset.from_json(response.json()) if response is not None else pydicom.Dataset()
        for one in answer.get("FailedSOPSequence") or ():
            if str(one.get("ReferencedSOPInstanceUID", instance)) == instance:
                return _failure(one.get("FailureReason"))
    except Exception:  # the reply is not in DICOM JSON
        return error.detail
    return error.detail


def _failure(reason: Any) -> str:
    """Return the reason in words."""
    code = int(reason or 0)
    return f"{refusal(code)} (reason {code:04X})."
