"""Gather statistics of units over many images, in small pieces, so that explanations are not delayed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from lib.runtime.worker import BusyError, Worker
from lib.storage.owners import CALLER
from lib.teaching.superseded import refuse_superseded
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import show, view_on
from otherwise.concepts.statistics import UnitStatistics
from otherwise.concepts.units import UnitError, UnitMaps, UnitReader
from otherwise.errors import CancelledError
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Image

logger = logging.getLogger(__name__)

BATCH = 16
"""Images at a time."""
SAVED = 256
"""Images between two times that statistics are saved."""
T = TypeVar("T")
Stop = Callable[[float], bool]
"""Waits that many seconds and says whether to stop: ``threading.Event.wait``."""


def on_worker(
    worker: Worker,
    work: Callable[[], T],
    stop: Stop,
    interactive: bool = False,
    patience: float | None = None,
) -> T:
    """Run on the device's only thread, after the queued work.

    Args:
        worker: Has the thread.
        work: What to run.
        stop: Waits, and says whether the server closes.
        interactive: Somebody waits for it, and it takes a moment only: it goes before longer work.
        patience: Seconds to wait, for a request; None: as long as it takes, for work in the background.

    Raises:
        BusyError: if ``patience`` was given, and the queue is full or the work has not begun and ended by then.
        CancelledError: if the server closes.
    """
    while True:
        try:
            item = worker.submit(lambda cancelled: work(), user=CALLER.get().user, interactive=interactive)
            try:
                return item.future.result(patience)
            except futures.TimeoutError:
                item.abandon()
                raise BusyError("The device is busy with longer work.", "Try again in 30 s.", 30) from None
        except futures.CancelledError:
            raise CancelledError("The server is shutting down.") from None
        except BusyError:
            if patience is not None:
                raise
            if stop(0.5):
                raise CancelledError("The server is shutting down.") from None


def view_of_image(classifier: BlackBox, image: Image) -> np.ndarray:
    """Return the view of an image of the data set; the middle slice of a volume for a 2-D classifier."""
    return show(image, classifier.inputs, shown_plane(classifier, image))


def shown_plane(classifier: BlackBox, image: Image) -> int | None:
    """Return the slice of a volume that stands for it where a classifier takes pictures: the middle one."""
    depth = image.geometry.shape[2]
    return depth // 2 if classifier.inputs.spatial_dims == 2 and depth > 1 else None


def view_of_explanation(classifier: BlackBox, explanation: Explanation) -> np.ndarray:
    """Return the view that was explained.

    Raises:
        SupersededError: if that was another classifier.
        UnitError: if the explanation does not tell where that was.
    """
    refuse_superseded(classifier, explanation)
    if explanation.grid is None:
        raise UnitError("The explanation does not tell where the classifier looked.", "Explain the image again.")
    inputs = classifier.inputs
    original = explanation.volumes.original
    return view_on(original, explanation.grid, inputs).array


def update_unit_statistics(
    reader: UnitReader,
    worker: Worker,
    ids: Sequence[str],
    view: Callable[[str], np.ndarray],
    file: Path,
    stop: Stop,
    unusable: set[str],
    progress: Callable[[int], None] = lambda count: None,
) -> UnitStatistics | None:
    """Bring the statistics of units up to date; what was gathered before an interruption counts.

    Args:
        reader: Whose units.
        worker: Runs the network.
        ids: Of all images.
        view: The image of an id as the classifier wants it; images for which it raises are left out.
        file: Where statistics are kept.
        stop: Says whether the server closes.
        unusable: Ids of images that cannot be used; those that are found are added.
        progress: Called with how many images have been looked at.

    Returns:
        None if there is no image that can be used.
    """
    statistics = _load(file, reader.version)
    unsaved = 0
    left = (id for id in ids if statistics is None or id not in statistics.seen)
    for batch in _batches(_views(left, view, unusable)):
        names, images = [id for id, _ in batch], np.stack([image for _, image in batch])

        def read(images: np.ndarray = images) -> UnitMaps:
            return reader.read(images)

        maps = on_worker(worker, read, stop)
        statistics = statistics or UnitStatistics(reader.version, maps.names)
        statistics.add(names, maps)
        unsaved += len(names)
        progress(len(statistics.seen))
        if unsaved >= SAVED:
            statistics.save(file)
            unsaved = 0
        if stop(0.0):
            break
    if statistics is not None and unsaved:
        statistics.save(file)
    return statistics


def _load(file: Path, version: str) -> UnitStatistics | None:
    if not file.is_file():
        return None
    try:
        found = UnitStatistics.load(file)
    except UnitError as error:
        logger.warning("%s It is gathered again.", error.detail)
        return None
    return found if found.version == version else None


def _views(
    ids: Iterable[str], view: Callable[[str], np.ndarray], unusable: set[str]
) -> Iterator[tuple[str, np.ndarray]]:
    for id in ids:
        try:
            seen = view(id)
        except CancelledError:
            raise
        except Exception as error:  # whatever a file of strangers, or an archive, comes up with
            unusable.add(id)
            logger.info(
                "An image is left out of the units' statistics: %s", getattr(error, "code", type(error).__name__)
            )
        else:
            yield id, seen


def _batches(items: Iterator[tuple[str, np.ndarray]]) -> Iterator[list[tuple[str, np.ndarray]]]:
    while batch := list(islice(items, BATCH)):
        yield batch
