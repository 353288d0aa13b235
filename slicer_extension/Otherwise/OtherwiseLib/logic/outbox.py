"""Annotations that the server has not confirmed yet: sent in order, one at a time, and kept until they are saved."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ..background.job import BackgroundJob, Timer
from ..background.signal import Signal
from ..client.errors import ServerError
from ..client.teaching import TeachingClient

UNSAVED = "Otherwise/unsaved"
"""Setting that holds them, so that they outlive the application."""


@dataclass(frozen=True)
class Unsaved:
    """An annotation that is not saved yet.

    Attributes:
        address: Address of the server that it is for.
        annotation: As it is sent, with an id that makes a repeat harmless.
    """

    address: str
    annotation: dict


class Outbox:
    """Send annotations on a background thread.

    Signals: ``saved(answer, sent)`` once the server has confirmed one; ``refused(error)`` for one that it will never
    take, which is dropped; ``stuck(error)`` where the server could not be reached, and the rest waits for ``send``;
    ``changed()`` whenever the list changes.

    Args:
        new_timer: Makes timers of the main thread.
        settings: Holds annotations that wait.
    """

    def __init__(self, new_timer: Callable[[], Timer], settings: Any) -> None:
        self.saved, self.refused, self.stuck, self.changed = Signal(), Signal(), Signal(), Signal()
        self.unsaved = _read(settings.get(UNSAVED, ""))
        self._new_timer, self._settings = new_timer, settings
        self._job: BackgroundJob | None = None

    @property
    def sending(self) -> bool:
        """Whether an annotation is being sent."""
        return self._job is not None

    def put(self, client: TeachingClient, annotation: dict) -> None:
        """Give an annotation an id, and send it after those that wait."""
        self.unsaved.append(Unsaved(client.address, {"id": uuid.uuid4().hex, **annotation}))
        self._keep()
        self.changed.emit()
        self.send(client)

    def send(self, client: TeachingClient) -> None:
        """Send the annotations that wait for this server."""
        mine = [item for item in self.unsaved if item.address == client.address]
        if not mine or self._job is not None:
            return
        item = mine[0]
        job = BackgroundJob(lambda report, cancel: client.annotate(item.annotation), self._new_timer())

        def over(drop: bool) -> None:
            self._job = None
            if drop and item in self.unsaved:
                self.unsaved.remove(item)
                self._keep()
            self.changed.emit()

        def saved(answer: dict) -> None:
            over(drop=True)
            self.saved.emit(answer, item.annotation)
            self.send(client)

        def failed(error: BaseException) -> None:
            hopeless = isinstance(error, ServerError) and 400 <= error.status < 500 and error.status != 408
            over(drop=hopeless)
            if hopeless:
                self.refused.emit(error)
                self.send(client)
            else:
                self.stuck.emit(error)

        job.finished.connect(saved)
        job.failed.connect(failed)
        self._job = job
        self.changed.emit()
        job.start()

    def discard(self) -> None:
        """Drop the annotations that wait."""
        if self._job is None:
            self.unsaved.clear()
            self._keep()
            self.changed.emit()

    def close(self) -> None:
        """Emit no more signals: the module is closing. What is being sent may still arrive."""
        job, self._job = self._job, None
        if job is not None:
            job.abandon()

    def _keep(self) -> None:
        self._settings.set(UNSAVED, json.dumps([asdict(item) for item in self.unsaved]) if self.unsaved else "")


def _read(text: str) -> list[Unsaved]:
    """Return the stored annotations, without those that cannot be read."""
    try:
        kept = [Unsaved(str(item["address"]), dict(item["annotation"])) for item in json.loads(text or "[]")]
    except (ValueError, KeyError, TypeError):
        return []
    return [item for item in kept if item.annotation.get("id")]
