"""The versions of a server's models, without a panel: which there are, which is in use, and the training of new ones.

Questions run beside everything else, each kind on a job of its own. A training is followed until the server uses the
new version, or says why it does not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

from ..background.job import Timer
from ..background.signal import Signal
from ..client.models import TRAINER, ModelsClient
from .logic import Logic
from .watched_service import WatchedService

TICK_MILLISECONDS = 2000
"""Between two questions for the state, while the server trains or switches versions."""
IDLE_TICKS = 15
"""Ticks between two such questions at other times."""
MOST_WAITING_TICKS = 60
"""Ticks to wait until a chosen new version is in use."""


@dataclass
class Run:
    """A training that is followed.

    Attributes:
        id: Id of the server's task.
        minutes: How long it trains.
        since: When it began, by our clock; None: it ran already when it was first seen.
        known: Ids of the versions before the training.
        over: Ticks since it was done.
    """

    id: str
    minutes: float
    since: float | None
    known: frozenset[str]
    over: int = 0


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended.

    Attributes:
        state: ``done``, ``failed``, ``stopped`` or ``lost``.
        version: The new version, if a training that is done made one.
        line: The last line of its log.
    """

    state: str
    version: dict | None = None
    line: str = ""


class Models(WatchedService):
    """The versions of a server's models, and the training of new ones.

    Signals: those of ``WatchedService``; ``chosen()`` when the user's choice was taken; ``ended(outcome)`` of a
    training; ``switched(about)`` when another pair is in use.

    Args:
        logic: Knows the server.
        new_timer: Makes timers of the main thread.
        new_client: Makes the client of the routes for models.
        every: Milliseconds of a tick.
        now: A clock, in seconds.

    Attributes:
        listing: What the server said of its versions; None: nothing yet.
        training: The last training, as the server describes it; None: there was none.
        stopping: Whether the user stopped the training that runs.
    """

    def __init__(
        self,
        logic: Logic,
        new_timer: Callable[[], Timer],
        new_client: Callable[[Any], ModelsClient] = ModelsClient,
        every: int = TICK_MILLISECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(logic, new_timer, new_client, every)
        self.now = now
        self.chosen, self.ended, self.switched = Signal(), Signal(), Signal()
        self._run: Run | None = None
        self._reset()

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def versions(self) -> list[dict]:
        """Every version, the newest first."""
        return list(reversed((self.listing or {}).get("versions", [])))

    @property
    def in_use(self) -> dict | None:
        """The version in use."""
        return next((version for version in self.versions if version.get("in_use")), None)

    @property
    def active(self) -> str:
        """Id of the chosen version; while the server switches versions, another one is in use."""
        return str((self.listing or {}).get("active", ""))

    @property
    def problem(self) -> str:
        """Why the chosen version is not in use; empty: nothing is wrong."""
        return str((self.listing or {}).get("problem") or "")

    @property
    def running(self) -> bool:
        """Whether a training is followed: it runs, or the server switches to the new version."""
        return self._run is not None

    @property
    def stoppable(self) -> bool:
        """Whether a training runs that can be stopped."""
        return self._run is not None and not self._run.over and not self.stopping

    @property
    def changing(self) -> bool:
        """Whether a choice, a training or a stop is on its way to the server."""
        return any(self._queries.is_open(kind) for kind in ("choose", "train", "stop"))

    @property
    def fraction(self) -> float | None:
        """Fraction of its minutes that a training has had; None: unknown, or they are over."""
        run = self._run
        if run is None or run.since is None or run.minutes <= 0:
            return None
        share = (self.now() - run.since) / (60 * run.minutes)
        return share if share < 1 else None

    @property
    def time_is_up(self) -> bool:
        """Whether a training's minutes are over; it also prepares before them and measures after them."""
        return self._run is not None and self._run.since is not None and self.fraction is None

    @property
    def line(self) -> str:
        """The last line of the training's log."""
        return next(iter((self.training or {}).get("details", [])[-1:]), "")

    # -- gestures ------------------------------------------------------------------------------------------------

    def activate(self, id: str) -> None:
        """Use a version from now on, for all users; ``chosen()`` follows."""
        client = self._client
        if client is not None:
            self._change("choose", lambda: client.activate(id), self._chosen)

    def roll_back(self) -> None:
        """Use the version before, for all users; ``chosen()`` follows."""
        client = self._client
        if client is not None:
            self._change("choose", client.roll_back, self._chosen)

    def train(self, minutes: int) -> None:
        """Train the agent on the images of the studies; ``ended(outcome)`` follows."""
        client, known = self._client, self._known()

        def begun(training: dict) -> None:
            self.training, self.stopping = training, False
            self._run = Run(training["id"], minutes, self.now(), known)
            self.changed.emit()

        if client is not None and not self.running:
            self._change("train", lambda: client.train(minutes), begun)

    def stop_training(self) -> None:
        """Stop the training; ``ended(outcome)`` follows."""
        client = self._client

        def stopped(nothing: object) -> None:
            self._look()

        if client is not None and self.stoppable:
            self.stopping = True
            self._change("stop", client.stop, stopped)

    # -- how it goes on ------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self.listing: dict | None = None
        self.training: dict | None = None
        self._run, self.stopping = None, False

    def _first_question(self, service: ModelsClient) -> tuple:
        return service.look()

    def _begun(self, answer: tuple) -> None:
        self._looked(answer)

    def _known(self) -> frozenset[str]:
        return frozenset(version["id"] for version in self.versions)

    def _change(self, kind: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        def failed(error: BaseException) -> None:
            self.stopping = self.stopping and kind != "stop"
            self.failed.emit(error)
            # Another user may have been faster: show the present state.
            self._look()

        # An answer to a question from before the change would be out of date.
        self._queries.forget("look")
        self._queries.ask(kind, work, done, failed)
        self.changed.emit()

    def _chosen(self, listing: dict) -> None:
        self._take(listing)
        self.chosen.emit()
        self.changed.emit()

    def _tick(self) -> None:
        self._ticks += 1
        switching = bool(self.active) and (self.in_use or {}).get("id") != self.active and not self.problem
        if self._run is not None or switching or self._ticks % IDLE_TICKS == 0:
            self._look()

    def _look(self) -> None:
        client = self._client
        if client is not None and not self.changing and not self._queries.is_open("look"):
            self._queries.ask("look", client.look, self._looked, self._lost)

    def _looked(self, answer: tuple) -> None:
        training, listing = answer
        self.reachable = True
        known = self._known() if self.listing is not None else frozenset(v["id"] for v in listing["versions"])
        self._take(listing)
        self._follow(training, known)
        self.changed.emit()

    def _take(self, listing: dict) -> None:
        before, self.listing = self.in_use, listing
        now = self.in_use
        if before is not None and now is not None and before["id"] != now["id"]:
            self._queries.ask("about", self._server.about, self._switched, lambda error: None)

    def _switched(self, about: dict) -> None:
        self.logic.about = about
        self.switched.emit(about)

    def _follow(self, training: dict | None, known: frozenset[str]) -> None:
        run, self.training = self._run, training
        model = (training or {}).get("request", {}).get("model", TRAINER)
        running = training is not None and training["status"] in ("SUBMITTED", "RUNNING") and model == TRAINER
        if training is not None and running and (run is None or run.id != training["id"]):
            minutes = training["request"].get("minutes", 0)
            good = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
            self._run = Run(training["id"], float(minutes) if good else 0.0, None, known)
            self.stopping = False
        elif run is not None and (training is None or training["id"] != run.id):
            self._end(TrainingOutcome("lost"))
        elif run is not None and training is not None and not running:
            self._finish(run, training)

    def _finish(self, run: Run, training: dict) -> None:
        if training["status"] == "STOPPED" or (self.stopping and training["status"] == "ERROR"):
            self._end(TrainingOutcome("stopped"))
        elif training["status"] == "ERROR":
            self._end(TrainingOutcome("failed", line=self.line))
        else:
            made = next((version for version in self.versions if version["id"] not in run.known), None)
            run.over += 1
            waits = made is not None and made["id"] == self.active and not made.get("in_use") and not self.problem
            if not waits or run.over > MOST_WAITING_TICKS:
                self._end(TrainingOutcome("done", made))

    def _end(self, outcome: TrainingOutcome) -> None:
        self._run, self.stopping = None, False
        self.ended.emit(outcome)
