"""The list of an archive's images: at most some seconds old while the archive answers, else the last one."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path
from otherwise.images.dicomweb.archive import Entry

logger = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which a list is taken for what there is."""
LOAD = 0.2
"""Share of its time that an archive may spend on our lists: what takes it long is asked for less often."""
WAIT = 3.0
"""Seconds that anybody waits for a new list; then the old one has to do."""
QUICK = 1.0
"""Seconds: where the last list took longer, nobody waits for the next one at all."""

SHOWN = 100
"""While the first list of a large archive is made, it is shown whenever it has grown by as many."""


class ArchiveListing:
    """The images of an archive, stored on disk so that a server knows them while the archive does not answer.

    One thread at a time asks the archive; the event loop never waits for it.

    Args:
        ask: Lists the images; its argument is the former list.
        file: To keep them in.
        fresh: See ``FRESH``; 0: for every answer.
        wait: See ``WAIT``.
    """

    def __init__(
        self, ask: Callable[[Sequence[Entry]], Iterable[Entry]], file: Path, fresh: float = FRESH, wait: float = WAIT
    ) -> None:
        self._ask, self._file, self._fresh, self._wait = ask, file, fresh, wait
        self._spare = 1 / LOAD - 1 if fresh else 0.0
        self._took = 0.0
        self._entries = _read(file)
        self._due = 0.0  # when to ask next, by the monotonic clock
        self._problem: OtherwiseError | None = None
        self._asking: threading.Event | None = None  # set once the list that is being asked for is there
        self._lock = threading.Lock()

    @property
    def problem(self) -> OtherwiseError | None:
        """Return the error of the last list; None if it succeeded."""
        return self._problem

    def entries(self) -> dict[str, Entry]:
        """Return the images by id, in the order of the archive."""
        asking = self._refresh()
        if asking is not None and self._took < QUICK and not _on_event_loop():
            asking.wait(self._wait)
        return self._entries

    def add(self, entry: Entry) -> None:
        """Add an image that was found before it was listed."""
        with self._lock:
            self._entries = {**self._entries, entry.id: entry}

    def _refresh(self) -> threading.Event | None:
        with self._lock:
            if self._asking is None and time.monotonic() >= self._due:
                self._asking = threading.Event()
                # A daemon, since an archive that hangs must not keep a server from ending.
                threading.Thread(target=self._renew, args=(self._asking,), name="archive-list", daemon=True).start()
            return self._asking

    def _renew(self, done: threading.Event) -> None:
        known = tuple(self._entries.values())
        entries: dict[str, Entry] = {}
        problem: OtherwiseError | None = None
        begun = time.monotonic()
        try:
            for entry in self._ask(known):
                entries.setdefault(entry.id, entry)
                if not known and len(entries) % SHOWN == 0:
                    self._entries = dict(entries)
            if tuple(entries.values()) != known or not self._file.is_file():
                _write(self._file, entries)
        except OtherwiseError as error:
            problem = error
        except Exception as error:
            logger.exception("The archive could not be listed")
            problem = OtherwiseError(f"The archive could not be listed ({type(error).__name__}).")
        with self._lock:
            if problem is None:
                self._entries = entries
            if (problem is None) != (self._problem is None):
                logger.warning("%s", problem.detail if problem else "The archive is back.")
            self._took = time.monotonic() - begun
            pause = self._fresh if problem else max(self._fresh, self._took * self._spare)
            self._due = time.monotonic() + pause
            self._problem, self._asking = problem, None
        done.set()


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _read(file: Path) -> dict[str, Entry]:
    try:
        entries = [Entry(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):  # none yet, or damaged: the archive knows
        return {}
    return {entry.id: entry for entry in entries}


def _write(file: Path, entries: dict[str, Entry]) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps([asdict(entry) for entry in entries.values()]), encoding="utf-8")
