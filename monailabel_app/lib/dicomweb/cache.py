"""A cache of fetched images on disk: complete or absent, named by content, the least recently used removed first."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from otherwise.images.atomic import WriteError, atomic_folder, atomic_path

logger = logging.getLogger(__name__)

IN_USE = 60.0
"""Seconds for which an image stays that was asked for: somebody is about to read it."""
_ABANDONED = 3600.0  # seconds after which what is being fetched belongs to a process that was killed


@dataclass(frozen=True)
class Kept:
    """An image on disk.

    Attributes:
        content: SHA-256 of its files, and name of their folder.
        files: How many.
        size: Bytes.
        count: Instances that the archive said the series has.
    """

    content: str
    files: int
    size: int
    count: int


class Cache:
    """Folders of DICOM files by image id. Equal content is stored once; several processes may use it.

    Args:
        root: Folder of its own; made if missing.
        limit: Bytes.
        in_use: See ``IN_USE``; for as long there may be more than ``limit``.

    Raises:
        OSError: if it cannot be made.
    """

    def __init__(self, root: Path, limit: int, in_use: float = IN_USE) -> None:
        self.limit, self.in_use = limit, in_use
        self._records, self._contents = root / "images", root / "content"
        self._lock = threading.RLock()
        for folder in (self._records, self._contents):
            folder.mkdir(parents=True, exist_ok=True)
        self._tidy()

    @property
    def size(self) -> int:
        """Return the bytes of all images."""
        return sum({kept.content: kept.size for _, kept in self._all()}.values())

    def has(self, id: str) -> bool:
        """Return whether an image is in the cache, by its record alone."""
        return self._record(id).is_file()

    def find(self, id: str) -> tuple[Kept, Path] | None:
        """Return an image of the cache and the folder of its files; None if it is absent or damaged."""
        with self._lock:
            record = self._record(id)
            kept = _read(record)
            if kept is None:
                return None
            folder = self._contents / kept.content
            sizes = [file.stat().st_size for file in folder.iterdir()] if folder.is_dir() else []
            if (len(sizes), sum(sizes)) != (kept.files, kept.size):
                logger.warning("An image of the cache was damaged; it is fetched again.")
                shutil.rmtree(folder, ignore_errors=True)
                record.unlink(missing_ok=True)
                return None
            os.utime(record)
            return kept, folder

    def keep(self, id: str, count: int, fill: Callable[[Path], object]) -> Path:
        """Store an image, replacing an older one of the same id.

        Args:
            id: Of the image.
            count: See ``Kept``.
            fill: Writes its files into an empty folder.

        Returns:
            The folder of its files.

        Raises:
            WriteError: if the disk refuses.
            Exception: whatever ``fill`` raises; nothing is kept then.
        """
        with self._arriving() as arriving:
            fill(arriving)
            files = sorted(arriving.iterdir())
            kept = Kept(_digest(files), len(files), sum(file.stat().st_size for file in files), count)
            folder = self._contents / kept.content
            with self._lock:
                if not folder.is_dir():
                    with atomic_folder(folder) as target:
                        for file in files:
                            file.replace(target / file.name)
                with atomic_path(self._record(id)) as record:
                    record.write_text(json.dumps(asdict(kept)), encoding="utf-8")
                self._tidy()
        return folder

    @contextmanager
    def _arriving(self) -> Iterator[Path]:
        try:
            with tempfile.TemporaryDirectory(dir=self._contents, prefix=".arriving-") as name:
                yield Path(name)
        except OSError as error:
            raise WriteError(
                f"The cache cannot be written: {error.strerror or 'input/output error'}.", "Look at the state's disk."
            ) from error

    def drop(self, id: str) -> None:
        """Forget an image."""
        with self._lock:
            self._record(id).unlink(missing_ok=True)
            self._tidy()

    def _tidy(self) -> None:
        """Remove images beyond the limit, the least recently used first, and files that belong to no image."""
        kept = self._all()
        total = sum({one.content: one.size for _, one in kept}.values())
        while kept and total > self.limit and _age(kept[0][0]) >= self.in_use:
            record, gone = kept.pop(0)
            record.unlink(missing_ok=True)
            if gone.content not in {one.content for _, one in kept}:
                shutil.rmtree(self._contents / gone.content, ignore_errors=True)
                total -= gone.size
        wanted = {one.content for _, one in kept}
        for folder in self._contents.iterdir():
            # Another process may be about to write the record of a new one.
            patience = _ABANDONED if folder.name.startswith(".") else self.in_use
            if folder.name not in wanted and _age(folder) >= patience:
                shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> list[tuple[Path, Kept]]:
        """Return the records of all images, the least recently used first."""
        read = [(record, _read(record)) for record in sorted(self._records.glob("*.json"), key=_age, reverse=True)]
        return [(record, kept) for record, kept in read if kept is not None]

    def _record(self, id: str) -> Path:
        return self._records / f"{hashlib.sha256(id.encode()).hexdigest()[:32]}.json"


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _read(record: Path) -> Kept | None:
    try:
        kept = Kept(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # there is none, or it is damaged and as good as none
        return None
    return kept


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # removed by another process
        return 0.0
