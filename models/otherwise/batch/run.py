"""A batch: an archive in, a table and a folder for each explanation out; it can be resumed after any interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from otherwise.batch.archive import read_content
from otherwise.batch.errors import BatchError, Failure
from otherwise.batch.executor import Executor, Task
from otherwise.batch.table import FAILED, Row, explained_row, failed_row, write_table
from otherwise.batch.worker import LoadedModels
from otherwise.explain.explanation import SCHEMA
from otherwise.explain.request import ExplainRequest
from otherwise.images.atomic import WriteError, is_occupied
from otherwise.images.listing import Listing, list_images
from otherwise.termination import ending_on_termination

TABLE = "results.parquet"
FOLDERS = "explanations"
_LOCK = ".lock"
_TABLE_SECONDS = 60.0
"""Between two looks that others may take at the table while a batch runs."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Summary:
    """The outcome of a batch.

    Attributes:
        images: How many were found.
        explained: How many of them have an explanation now, duplicates not counted.
        kept: How many of these an earlier run had explained.
        failed: How many have none, for a reason that is in the table.
        duplicates: How many hold the same as another one.
        finished: False: stopped by Ctrl-C or SIGTERM; the rest waits for the same command.
        table: The Parquet file.
        left_out: What the archive holds besides images, in one line; empty where there is nothing else.
    """

    images: int
    explained: int
    kept: int
    failed: int
    duplicates: int
    finished: bool
    table: Path
    left_out: str = ""


def run_batch(
    archive: Path, out: Path, executor: Executor, request: ExplainRequest, progress: Progress = lambda stage, part: None
) -> Summary:
    """Explain every image of an archive once.

    What is done is what has a folder below ``out/explanations``, named after the image's bytes, the models' versions
    and the request, and put there by rename, so that a killed run can be resumed. Images that failed are
    tried again by the next run; at one at which two runs died, the third passes by. The table is written now and then,
    and at the end.

    Args:
        archive: Looked through at every depth.
        out: For the results; it may lie in the archive. One run at a time.
        executor: Who does the work; it is started and closed here.
        request: What the executor asks of every image.
        progress: Called with a text of how many are done, and their share.

    Raises:
        BatchError: if there is nothing to do, or ``out`` is in use or holds something else.
        WriteError: if the disk is full; what is finished is kept.
        OtherwiseError: if the models cannot be loaded.
    """
    with _claimed(out):
        progress("look", 0.0)
        listing = list_images(
            archive, without=out, progress=lambda done, total: progress(f"look at {total} files", 0.0)
        )
        batch = _Batch(archive, out, listing, request, progress)
        try:
            progress("load the models", 0.0)
            batch.run(executor)
        finally:
            executor.close()
    return batch.summary()


class _Batch:
    """The state of one run; ``rows`` by key, in the archive's order."""

    def __init__(self, archive: Path, out: Path, listing: Listing, request: ExplainRequest, progress: Progress) -> None:
        self.archive, self.out, self.listing, self.request, self.progress = archive, out, listing, request, progress
        self.images = listing.images
        self.rows: dict[str, Row] = {}
        self.names: dict[str, list[str]] = {}
        self.done = self.kept = self.failed = 0
        self.finished = False
        self.models: LoadedModels | None = None

    def run(self, executor: Executor) -> None:
        self.models = executor.start()
        written = time.monotonic()
        try:
            with ending_on_termination():
                for outcome in executor.run(self._tasks(self.models), self._tell):
                    self._finish(outcome.task, outcome.failure)
                    if time.monotonic() - written > _TABLE_SECONDS:
                        self.write()
                        written = time.monotonic()
            self.finished = True
        except KeyboardInterrupt:
            self._find_unnoted()
        finally:
            self.write()

    def write(self) -> None:
        """Bring the table up to date."""
        assert self.models is not None
        rows = []
        for key, names in self.names.items():
            if key in self.rows:
                rows.append({"image": names[0], "duplicates": names[1:], **self.rows[key]})
        write_table(sorted(rows, key=lambda row: row["image"]), self.models.classes, self.out / TABLE)

    def summary(self) -> Summary:
        return Summary(
            images=len(self.images),
            explained=len(self.rows) - self.failed,
            kept=self.kept,
            failed=self.failed,
            duplicates=sum(len(names) - 1 for names in self.names.values()),
            finished=self.finished,
            table=self.out / TABLE,
            left_out=self.listing.left_out_line,
        )

    def _tasks(self, models: LoadedModels) -> Iterator[Task]:
        """Yield the images that are still to be explained, one by one, since an archive is large."""
        for image in self.images:
            try:
                content = read_content(image, self.archive)
            except OSError as error:
                self.names[image.name] = [image.name]
                reason = error.strerror or "input/output error"
                self._keep(image.name, failed_row(Failure("image", f"It cannot be read: {reason}.", "Check the file.")))
                continue
            key = _key(content.digest, models, self.request)
            known = key in self.names
            self.names.setdefault(key, []).extend((image.name, *content.copies))
            if known:
                self.done += 1
                self._tell(0.0)
                continue
            task = Task(key, content.image, self.out / FOLDERS / key)
            row = explained_row(task.out)
            if row is None:
                yield task
            else:
                self.kept += 1
                self._keep(key, row)

    def _find_unnoted(self) -> None:
        """Add explanations that were finished while the run was stopped."""
        for key in self.names:
            row = None if key in self.rows else explained_row(self.out / FOLDERS / key)
            if row is not None:
                self._keep(key, row)

    def _finish(self, task: Task, failure: Failure | None) -> None:
        if failure is not None:
            if failure.error == WriteError.code:  # what cannot be kept need not be made
                raise WriteError(failure.detail, f"{failure.hint} Then give the same command again.")
            self._keep(task.key, failed_row(failure))
            return
        row = explained_row(task.out)
        if row is None:
            raise BatchError(f"{task.out.name} vanished from the results.", "Leave that folder to one run.")
        self._keep(task.key, row)

    def _keep(self, key: str, row: Row) -> None:
        failed = row["status"] == FAILED
        self.rows[key] = row if failed else {**row, "folder": f"{FOLDERS}/{key}"}
        self.failed += failed
        self.done += 1
        self._tell(0.0)

    def _tell(self, begun: float) -> None:
        count = len(self.images)
        words = f"{self.done} of {count} images" + (f", {self.failed} failed" if self.failed else "")
        self.progress(words, min(1.0, (self.done + begun) / count))


def _key(digest: str, models: LoadedModels, request: ExplainRequest) -> str:
    """Name of the explanation of these bytes by these models: 32 hexadecimal characters."""
    asked = asdict(request)
    # As before there were values, muscles and deformations, so that earlier batches go on.
    if asked["tolerance"] is None:
        del asked["tolerance"]
    if asked["edit"] == "auto":
        del asked["edit"]
    if asked["scan"]["muscle"]:
        del asked["scan"]["muscle"]
    parts = [SCHEMA, digest, models.classifier.version, models.agent.version, asked]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Make the folder of the results, for this run alone; a lock is let go by the system when a process is killed."""
    if is_occupied(out) and not (out / FOLDERS).is_dir():
        raise BatchError(f"There is something else in {out.name}.", "Choose a folder of its own for the results.")
    lock = FileLock(out / _LOCK, timeout=0)
    try:
        (out / FOLDERS).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BatchError(f"Another run is writing into {out.name}.", "Wait for it, or choose another folder.") from None
    except OSError as error:
        raise WriteError(f"{out.name} cannot be written: {error.strerror}.", "Choose another folder.") from error
    with lock:
        for leftover in (*out.glob(f".*.{TABLE}"), *(out / FOLDERS).glob(".*")):
            _remove(leftover)
        yield


def _remove(leftover: Path) -> None:
    """Remove what a killed run had begun to write."""
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        with suppress(OSError):
            leftover.unlink()
