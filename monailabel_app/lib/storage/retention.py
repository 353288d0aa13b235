"""Retention of explanations: the oldest are removed first; those that annotations refer to stay."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.storage.explanation_store import ExplanationStore
from otherwise.annotations.store import AnnotationStore
from otherwise.errors import OtherwiseError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0
"""Seconds between two clean-ups without new explanations."""
GRACE_SECONDS = 600.0
"""Time in which a client can fetch a new explanation, even if there is no room."""
LEFTOVER_SECONDS = 24 * 3600.0
"""Age at which unfinished folders are removed."""
DAY, GIB = 24 * 3600.0, 2.0**30


@dataclass(frozen=True)
class RetentionLimits:
    """Limits of age and room.

    Attributes:
        days: Age at which an explanation goes; None: it may stay.
        gib: Room for all explanations; None: any.
        grace: See ``GRACE_SECONDS``.
    """

    days: float | None = None
    gib: float | None = None
    grace: float = GRACE_SECONDS


@dataclass(frozen=True, order=True)
class StoredExplanation:
    """An explanation on the disk; sorted, the oldest comes first.

    Attributes:
        made: When, in seconds since 1970.
        id: Its name.
        size: In bytes.
    """

    made: float
    id: str
    size: int


def expired(
    kept: Iterable[StoredExplanation], limits: RetentionLimits, now: float, referred: Collection[str]
) -> list[StoredExplanation]:
    """Return the explanations to remove, the oldest first.

    Args:
        kept: All explanations.
        limits: How much may stay.
        now: In seconds since 1970.
        referred: Ids of those that stay whatever their age; their room counts.
    """
    kept = sorted(kept)
    total, going = sum(each.size for each in kept), []
    for each in kept:
        age = now - each.made
        old = limits.days is not None and age > limits.days * DAY
        much = limits.gib is not None and total > limits.gib * GIB
        if (old or much) and age > limits.grace and each.id not in referred:
            going.append(each)
            total -= each.size
    return going


class References:
    """Ids of the explanations that annotations refer to, withdrawn ones included: earlier names can be chosen again."""

    def __init__(self, annotations: AnnotationStore) -> None:
        self._annotations = annotations
        self._seen, self._ids = 0, set[str]()

    def __call__(self) -> set[str]:
        """Return the ids, those of new annotations included.

        Raises:
            OtherwiseError: if the database does not answer.
        """
        for each in self._annotations.since(self._seen):
            self._seen = each.number
            if each.annotation.explanation:
                self._ids.add(each.annotation.explanation)
        return self._ids


class Retention:
    """Cleans up on a thread of its own.

    Args:
        store: The explanations.
        limits: How much is kept.
        referred: Ids of explanations that stay whatever their age.
        forgotten: Called with each id that was removed.
    """

    def __init__(
        self,
        store: ExplanationStore,
        limits: RetentionLimits,
        referred: Callable[[], set[str]],
        forgotten: Callable[[str], None] = lambda id: None,
    ) -> None:
        self.store, self.limits = store, limits
        self._referred, self._forgotten = referred, forgotten
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="otherwise-keeping", daemon=True)

    def start(self) -> None:
        """Clean up now, and from now on."""
        self._thread.start()

    def wake(self) -> None:
        """Clean up soon: there is a new explanation."""
        self._news.set()

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self._news.set()

    def clean(self) -> list[str]:
        """Remove what was never finished and what is expired.

        Returns:
            Ids of the explanations that are gone.

        Raises:
            OtherwiseError: if it cannot be found out what people spoke of; nothing more is removed then.
        """
        now = time.time()
        self._sweep(now)
        if self.limits.days is None and self.limits.gib is None:
            return []
        kept = [each for id in self.store.ids() if (each := self._measured(id)) is not None]
        gone = []
        for each in expired(kept, self.limits, now, self._referred()):
            if each.id not in self._referred():  # asked again: somebody may have spoken of it a moment ago
                self._remove(each.id)
                gone.append(each.id)
        if gone:
            logger.info("%d explanations were removed to keep to the limits of age and room", len(gone))
        return gone

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                self.clean()
            except OtherwiseError as error:
                logger.warning("Nothing is cleaned up: %s", error.detail)
            except Exception:
                logger.exception("Cleaning up failed")
            self._news.wait(LOOK_SECONDS)

    def _sweep(self, now: float) -> None:
        for path in self.store.root.iterdir():
            if path.name.startswith(".") and now - path.lstat().st_mtime > LEFTOVER_SECONDS:
                _delete(path)

    def _measured(self, id: str) -> StoredExplanation | None:
        folder = self.store.root / id
        try:
            made = (folder / "explanation.json").stat().st_mtime
            size = sum(file.stat().st_size for file in folder.iterdir())
        except OSError:  # it is no explanation, or just went
            return None
        return StoredExplanation(made, id, size)

    def _remove(self, id: str) -> None:
        # Renamed first: it is there whole, or not at all.
        aside = self.store.root / f".removed-{uuid.uuid4().hex}"
        (self.store.root / id).rename(aside)
        _delete(aside)
        # Whoever looks for it finds out by themselves; on a full disk room comes before order.
        with suppress(OtherwiseError):
            self._forgotten(id)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
