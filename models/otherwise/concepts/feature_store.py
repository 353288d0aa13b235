"""The facts of every explained image and every named region, kept by the version of the units that they come from.

Nothing in it is worth a backup: all of it can be gathered again from images and explanations.
"""

from __future__ import annotations

import io
import sqlite3
import threading
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from otherwise.concepts.region_features import RegionFeatures

LAYOUT = 4
"""Of the features; those of another layout are gathered again."""

_TABLE = """
CREATE TABLE IF NOT EXISTS facts (
    version TEXT NOT NULL, source TEXT NOT NULL, image TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (version, source)
) WITHOUT ROWID
"""

_CLEAR = "DELETE FROM facts WHERE version NOT LIKE ? OR (version != ? AND substr(version, 1, ?) = ?)"
"""Delete facts of another layout, and of other images of the same units."""


@dataclass(frozen=True, eq=False)
class FeatureEntry:
    """Features and what they are about.

    Attributes:
        source: Id of the explanation or annotation.
        image: Id of its image.
        features: See ``RegionFeatures``.
    """

    source: str
    image: str
    features: RegionFeatures


class FeatureStore:
    """Features by source, for one version of the units; safe for any number of threads.

    Args:
        path: The file, shared by all versions; made if missing, and made anew where it is damaged.
        version: ``UNITS#IMAGES``: see ``UnitTable.version``, and the number of images that the units were gathered
            from. Facts of other versions are not seen. Those of other units are kept, since these may come back into
            use; those of another layout, and of other images of the same units, are deleted.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.version, self._key = version, f"{version}/{LAYOUT}"
        self._lock = threading.Lock()
        self._connection = _open(path)
        units = f"{version.partition('#')[0]}#"
        with self._connection:
            self._connection.execute(_CLEAR, (f"%/{LAYOUT}", self._key, len(units), units))
        rows = self._connection.execute("SELECT source, image, content FROM facts WHERE version = ?", (self._key,))
        self._entries = {source: FeatureEntry(source, image, _features(content)) for source, image, content in rows}

    def put(self, entry: FeatureEntry) -> None:
        """Keep facts; those of the same source are replaced."""
        row = (self._key, entry.source, entry.image, _content(entry.features))
        with self._lock:
            with self._connection:
                self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", row)
            self._entries[entry.source] = entry

    def get(self, source: str) -> FeatureEntry | None:
        """Return the facts of one source; None: they have not been gathered."""
        return self._entries.get(source)

    def all(self) -> list[FeatureEntry]:
        """Return everything, in the order it came."""
        with self._lock:
            return list(self._entries.values())

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
            connection.execute("SELECT count(*) FROM facts")
            return connection
        except sqlite3.DatabaseError as error:
            connection.close()
            if getattr(error, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise
            path.unlink()
    raise AssertionError("a new file cannot be damaged")


def _content(features: RegionFeatures) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{item.name: getattr(features, item.name) for item in fields(RegionFeatures)})
    return buffer.getvalue()


def _features(content: bytes) -> RegionFeatures:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return RegionFeatures(**{item.name: arrays[item.name] for item in fields(RegionFeatures)})
