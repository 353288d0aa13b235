"""Look at images and explanations as the units do; the last few looks are kept at hand."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import LRUCache

from lib.runtime.host import Host
from lib.teaching.unit_statistics import Stop, on_worker
from otherwise.concepts.activations import ImageActivations, activations_of_explanation, activations_of_image
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.units import UnitError, UnitReader, unit_reader
from otherwise.errors import OtherwiseError
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Image

KEPT = 8


class NotYetError(OtherwiseError):
    """Something is still being made."""

    code = "not-yet"
    status = 503


class ActivationCache:
    """The units of the models in use, and what is known of them.

    Args:
        host: The models and the worker.
        layer: Of the classifier, whose units are read; see ``unit_reader``.
        stop: Says whether the server closes.

    Raises:
        UnitError: if the classifier has no such layer.
    """

    def __init__(self, host: Host, layer: str, stop: Stop) -> None:
        self.host, self.layer, self.stop = host, layer, stop
        self.table: UnitTable | None = None
        self.reader: UnitReader | None = self._reader()
        self._recent: LRUCache[str, ImageActivations] = LRUCache(KEPT)
        self._door = threading.Lock()

    def forget(self) -> None:
        """Other models are in use: begin anew."""
        with self._door:
            self._recent.clear()
        self.reader, self.table = None, None
        self.reader = self._reader()

    def look(
        self,
        key: str,
        open: Callable[[], Image | Explanation],
        slice_index: int | None = None,
        patience: float | None = None,
    ) -> ImageActivations:
        """Look at an image or at an explanation.

        Args:
            key: What identifies it.
            open: Reads it.
            slice_index: For an image.
            patience: Seconds to wait for the device; None: as long as it takes, for work in the background.

        Raises:
            BusyError: if the device is busy for longer.
            OtherwiseError: if it cannot be used, or the units have not been gathered yet.
        """
        reader, table = self.reader, self.table
        if reader is None:
            raise UnitError("The agent of this server has no units.", "Host an agent made by otherwise train agent.")
        if table is None:
            raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
        key = f"{key}#{table.version}#{table.images}"
        with self._door:
            known = self._recent.get(key)
        if known is not None:
            return known
        found = open()

        def see() -> ImageActivations | None:
            if isinstance(found, Explanation):
                return activations_of_explanation(self.host.classifier, reader, table, found)
            return activations_of_image(self.host.classifier, reader, table, found, slice_index)

        look = on_worker(self.host.worker, see, self.stop, interactive=True, patience=patience)
        if look is None:
            raise UnitError("This explanation does not tell where the classifier looked.", "Explain the image again.")
        with self._door:
            self._recent[key] = look
        return look

    def _reader(self) -> UnitReader | None:
        return unit_reader(self.host.classifier, self.host.explainer.agent, self.layer)
