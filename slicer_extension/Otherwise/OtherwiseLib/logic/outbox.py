"""What somebody said and the server has not yet confirmed: sent in order, one at a time, and kept until it is safe."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ..background.job import Job, Timer
from ..background.signal import Signal
from ..client.errors import ServerError
from ..client.teaching import TeachingClient

UNSAVED = "Otherwise/unsaved"
"""Where the settings keep what waits, so that it outlives the application."""


@dataclass(frozen=True)
class Unsaved:
    """Something that was said.

    Attributes:
        address: Of the server that it was said to.
        annotation: As it is sent, with the id that makes a repeat harmless.
    """

    address: str
    annotation: dict


class Outbox:
    """Sends annotations on a thread of its own.

    Signals: ``saved(answer, said)`` once the server has said that it keeps one; ``refused(error)`` for one that it will
    never take, which is dropped; ``stuck(error)`` where it could not be reached, and the rest waits for ``send``;
    ``changed()`` whenever something comes or goes.

    Args:
        new_timer: Makes timers of the main thread.
        settings: Remember what waits.
    """

    def __init__(self, new_timer: Callable[[], Timer], settings: Any) -> None:
        self.saved, self.refused, self.stuck, self.changed = Signal(), Signal(), Signal(), Signal()
        self.unsaved = _read(settings.get(UNSAVED, ""))
        self._new_timer, self._settings = new_timer, settings
        self._job: Job | None = None

    @property
    def sending(self) -> bool:
        """Whether something is on its way."""
        return self._job is not None

    def put(self, client: TeachingClient, said: dict) -> None:
        """Give something an id, and send it after what waits already."""
        self.unsaved.append(Unsaved(client.address, {"id": uuid.uuid4().hex, **said}))
        self._keep()
        self.changed.emit()
        self.send(client)

    def send(self, client: TeachingClient) -> None:
        """Send what waits for this server."""
        mine = [item for item in self.unsaved if item.address == client.address]
        if not mine or self._job is not None:
            return
        item = mine[0]
        job = Job(lambda report, cancel: client.annotate(item.annotation), self._new_timer())

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
        """Give up what waits."""
        if self._job is None:
            self.unsaved.clear()
            self._keep()
            self.changed.emit()

    def close(self) -> None:
        """The module is closing; what is on its way arrives or not, but nobody hears of it."""
        job, self._job = self._job, None
        if job is not None:
            job.abandon()

    def _keep(self) -> None:
        self._settings.set(UNSAVED, json.dumps([asdict(item) for item in self.unsaved]) if self.unsaved else "")


def _read(text: str) -> list[Unsaved]:
    """What was kept; what makes no sense is left out."""
    try:
        kept = [Unsaved(str(item["address"]), dict(item["annotation"])) for item in json.loads(text or "[]")]
    except (ValueError, KeyError, TypeError):
        return []
    return [item for item in kept if item.annotation.get("id")]
