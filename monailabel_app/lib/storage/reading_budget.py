"""A budget of memory for all images that are read or held at the same time."""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import psutil

from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.formats.limits import reading_size_checked_by
from otherwise.images.image import Image

MEMORY_SHARE = 0.4
"""Share of the machine's (or container's) memory that images may take; the models and an explanation need the rest."""
USER_SHARE = 0.5
"""Share of the budget that one user may hold while others wait."""
PATIENCE_SECONDS = 20.0
"""How long a read waits for memory before it is refused."""
RETRY_SECONDS = 10


class MemoryBusyError(OtherwiseError):
    """Other images take all memory that images may take.

    Attributes:
        retry_after: Seconds after which a client should ask again.
    """

    code = "busy"
    status = 429
    retry_after = RETRY_SECONDS


class ReadingBudget:
    """Bytes that all images may take at once; reads wait for each other.

    A read reserves its peak (``otherwise.images.formats.limits.peak_bytes``) once its header is known and before a
    voxel is read. After the read the image keeps its own size reserved until nobody refers to it any more, as an image
    of a queued job does for a long time.

    Args:
        total: Bytes.
        patience: Seconds that a read waits for others.
        give_back: Returns freed memory to the system; called after each read.
    """

    def __init__(
        self, total: int, patience: float = PATIENCE_SECONDS, give_back: Callable[[], object] = lambda: None
    ) -> None:
        self.total, self.patience, self._give_back = total, patience, give_back
        self._held: Counter[str] = Counter()
        self._changed = threading.Condition(threading.RLock())  # a finaliser may run while its own thread holds it

    @property
    def used(self) -> int:
        """Return the bytes that are reserved now."""
        with self._changed:
            return self._held.total()

    def read(self, read: Callable[[], Image], user: str = "", patience: float | None = None) -> Image:
        """Read an image within the budget.

        Args:
            read: Reads it, with ``otherwise.images.reading.read_image``.
            user: Who asks. One user cannot hold more than ``USER_SHARE`` of the budget.
            patience: Seconds to wait instead of the budget's own.

        Raises:
            MemoryBusyError: if other images take the memory for longer than ``patience``.
            OtherwiseError: if the image cannot be used, or takes more than the whole budget.
        """
        limit = self.patience if patience is None else patience
        with self._reservation(user, limit) as reserve:
            try:
                with reading_size_checked_by(lambda declared: reserve(declared.peak_bytes)):
                    image = read()
            except BaseException as error:
                release_frames(error)
                raise
            self._hold(image, user)
        return image

    @contextmanager
    def _reservation(self, user: str, patience: float) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves bytes; what it reserved is returned at the end."""
        reserved = 0

        def reserve(size: int) -> None:
            nonlocal reserved
            more = max(0, size - reserved)  # a series asks once for each of its files
            if more:
                self._reserve(more, user, patience, size)
                reserved += more

        try:
            yield reserve
        finally:
            self._release(user, reserved)
            if reserved:
                self._give_back()

    def _reserve(self, more: int, user: str, patience: float, size: int) -> None:
        if size > self.total:
            raise ImageError(
                f"Reading it takes {size / 2**30:.1f} GiB of memory, and this server has {self.total / 2**30:.1f} GiB "
                "for images.",
                "Crop it, or ask the administrator for a larger reading_mib.",
            )
        deadline = time.monotonic() + patience
        with self._changed:
            while not self._fits(more, user):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise MemoryBusyError(
                        "Other images take all memory that images may take.", f"Try again in {RETRY_SECONDS} s."
                    )
                self._changed.wait(min(left, 1.0))
            self._held[user] += more

    def _fits(self, more: int, user: str) -> bool:
        mine = self._held[user]
        return self._held.total() + more <= self.total and (not mine or mine + more <= USER_SHARE * self.total)

    def _hold(self, image: Image, user: str) -> None:
        size = image.array.nbytes
        with self._changed:
            self._held[user] += size  # beside the peak for a moment: the peak is returned next
        weakref.finalize(image, self._release, user, size).atexit = False

    def _release(self, user: str, size: int) -> None:
        with self._changed:
            self._held[user] -= size
            if self._held[user] <= 0:
                del self._held[user]
            self._changed.notify_all()


def release_frames(error: BaseException) -> None:
    """Clear the local variables of the frames that an error passed through.

    A refused image would stay in memory as long as the error, and longer where error and frame refer to each other.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]


def default_budget() -> int:
    """Return the bytes that images may take on this machine, or within this container."""
    return int(MEMORY_SHARE * memory_limit())


def memory_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of memory of this machine, or of the control groups that the process is in if they have less.

    Args:
        root: Where the control groups are mounted (version 2, or version 1 below ``memory``).
        own: File that says which groups the process is in, one a line: ``number:controllers:path``.
    """
    limits = [psutil.virtual_memory().total]
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {line[2] for line in lines if len(line) == 3 and line[1] in ("", "memory")} | {"/"}
    for path in paths:
        inner = PurePosixPath(path.lstrip("/"))
        for group in (inner, *inner.parents):  # a group is bound by those around it as well
            for name in (Path(group) / "memory.max", Path("memory") / group / "memory.limit_in_bytes"):
                try:
                    limits.append(int((root / name).read_text().strip()))
                except (OSError, ValueError):  # another version, or "max"
                    continue
    return min(limits)
