"""A service that not every server offers, asked and watched beside everything else: teaching, versions of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable

from ..background.job import Timer
from ..background.queries import Queries
from ..background.signal import Signal
from .logic import Logic


class WatchedService(ABC):
    """Begins with each connection, asks at every tick of a timer, and knows whether the server can be reached.

    Signals: ``changed()`` when something about the state is new; ``failed(error)``.

    Args:
        logic: Knows the server.
        new_timer: Makes timers of the main thread.
        new_client: Makes the client of the service's routes.
        milliseconds: Between two ticks.

    Attributes:
        offered: Whether the connected server has the service.
        reachable: Whether the last question was answered.
    """

    def __init__(
        self, logic: Logic, new_timer: Callable[[], Timer], new_client: Callable[[Any], Any], milliseconds: int
    ) -> None:
        self.logic = logic
        self.offered, self.reachable = True, True
        self.changed, self.failed = Signal(), Signal()
        self._queries = Queries(new_timer, self.failed)
        self._new_client, self._milliseconds = new_client, milliseconds
        self._server: Any = None
        self._service: Any = None
        self._clock = new_timer()
        self._ticks = 0
        logic.connected.connect(self.begin)

    @property
    def connected(self) -> bool:
        """Whether there is a server that offers the service."""
        return self._service is not None and self.logic.client is self._server and self.offered

    def begin(self, about: dict | None = None) -> None:
        """Start anew with the server that was just connected."""
        self._stop()
        self._server = self.logic.client
        self._service = service = self._new_client(self._server)
        self.offered, self.reachable = True, True
        self._ticks = 0
        self._reset()

        def came(answer: Any) -> None:
            self._begun(answer)
            self._clock.start(self._milliseconds, self._tick)

        self._queries.ask("begin", lambda: self._first_question(service), came, self._not_offered)
        self.changed.emit()

    def close(self) -> None:
        """Stop everything without a signal."""
        self._stop()
        self.logic.connected.disconnect(self.begin)

    # -- what each service adds ----------------------------------------------------------------------------------

    @abstractmethod
    def _reset(self) -> None:
        """Forget what was known of the server before."""

    @abstractmethod
    def _first_question(self, service: Any) -> Any:
        """Ask what is needed first, on a job's thread."""

    @abstractmethod
    def _begun(self, answer: Any) -> None:
        """Take the first answer."""

    @abstractmethod
    def _tick(self) -> None:
        """Ask again, where it is time to."""

    # -- for subclasses ------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        """The client of the service's routes; None where the service is not connected."""
        return self._service if self.connected else None

    def _lost(self, error: BaseException) -> None:
        """Keep what was known after a question without an answer; a later tick asks again."""
        self.reachable = False
        self.changed.emit()

    def _not_offered(self, error: BaseException) -> None:
        self.offered = False
        if getattr(error, "status", 0) != 404:
            self.failed.emit(error)
        self.changed.emit()

    def _stop(self) -> None:
        self._clock.stop()
        self._queries.stop()
