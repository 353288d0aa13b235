"""Executors of a batch: this process, or others (``otherwise.batch.ray_executor``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from otherwise.batch.errors import DIED, MOST_DEATHS, Failure
from otherwise.batch.worker import BatchOrder, BatchWorker, LoadedModels
from otherwise.images.atomic import WriteError
from otherwise.images.listing import FoundImage


@dataclass(frozen=True)
class Task:
    """One image to be explained.

    Attributes:
        key: Of the image, the models and the options.
        image: The image.
        out: The folder to make.
    """

    key: str
    image: FoundImage
    out: Path


@dataclass(frozen=True)
class ImageOutcome:
    """The outcome of a task; without a failure its folder exists."""

    task: Task
    failure: Failure | None


class Executor(Protocol):
    """An executor of explanations; used as ``start``, ``run``, ``close``."""

    def start(self) -> LoadedModels:
        """Load the models.

        Raises:
            OtherwiseError: if they cannot be loaded, or there is no worker.
        """
        ...

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[ImageOutcome]:
        """Explain every image once.

        Args:
            tasks: Taken one at a time, as they can be worked at.
            progress: Called with how much of the images in work is done, in images.

        Yields:
            Outcomes in the order in which they come.
        """
        ...

    def close(self) -> None:
        """Stop, and drop the images in progress. May be called more than once."""
        ...


class InProcess:
    """An executor that explains one image after the other in this process."""

    def __init__(self, order: BatchOrder) -> None:
        self._order = order
        self._worker: BatchWorker | None = None

    def start(self) -> LoadedModels:
        """Load the models.

        Raises:
            OtherwiseError: if they cannot be loaded.
        """
        self._worker = BatchWorker(self._order)
        return self._worker.models

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[ImageOutcome]:
        """See ``Executor.run``."""
        assert self._worker is not None, "start() comes first"
        for task in tasks:
            with _marked_in_progress(task) as deaths:
                failure = (
                    self._worker.explain(task.image, task.out, lambda stage, part: progress(part))
                    if deaths < MOST_DEATHS
                    else DIED
                )
            yield ImageOutcome(task, failure)

    def close(self) -> None:
        """Release the models."""
        self._worker = None


@contextmanager
def _marked_in_progress(task: Task) -> Iterator[int]:
    """Mark an image as in progress; a mark that exists already was left by a process that died on the image.

    Without it, an image that needs too much memory would end every run before the images after it had their turn.

    Yields:
        How many processes have died at it.

    Raises:
        WriteError: if the note cannot be written.
    """
    note = task.out.with_name(f"{task.out.name}.begun")
    try:
        deaths = note.stat().st_size if note.is_file() else 0
        with note.open("ab") as file:
            file.write(b".")
    except OSError as error:
        raise WriteError(f"{note.name} cannot be written: {error.strerror}.", "Free some disk space.") from error
    try:
        yield deaths
    finally:
        note.unlink(missing_ok=True)
