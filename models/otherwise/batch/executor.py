"""Who does the work of a batch: this process, or others (``otherwise.batch.ray_executor``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from otherwise.batch.archive import ArchiveImage
from otherwise.batch.errors import Failure
from otherwise.batch.worker import Models, Order, Worker


@dataclass(frozen=True)
class Task:
    """One image to be explained.

    Attributes:
        key: Of the image, the models and the options.
        image: The image.
        out: The folder to make.
    """

    key: str
    image: ArchiveImage
    out: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a task; without a failure its folder is there."""

    task: Task
    failure: Failure | None


class Executor(Protocol):
    """Explains images; used as ``start``, ``run``, ``close``."""

    def start(self) -> Models:
        """Load the models.

        Raises:
            OtherwiseError: if they cannot be loaded, or there is nobody to do the work.
        """
        ...

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[Outcome]:
        """Explain every image once.

        Args:
            tasks: Taken one at a time, as they can be worked at.
            progress: Told how much of the images in work is done, in images.

        Yields:
            Outcomes in the order in which they come.
        """
        ...

    def close(self) -> None:
        """Let everything go; images in work are dropped. May be called more than once."""
        ...


class InProcess:
    """One image after the other, in this process."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._worker: Worker | None = None

    def start(self) -> Models:
        """Load the models.

        Raises:
            OtherwiseError: if they cannot be loaded.
        """
        self._worker = Worker(self._order)
        return self._worker.models

    def run(self, tasks: Iterable[Task], progress: Callable[[float], None]) -> Iterator[Outcome]:
        """See ``Executor.run``."""
        assert self._worker is not None, "start() comes first"
        for task in tasks:
            yield Outcome(task, self._worker.explain(task.image, task.out, lambda stage, part: progress(part)))

    def close(self) -> None:
        """Let the models go."""
        self._worker = None
