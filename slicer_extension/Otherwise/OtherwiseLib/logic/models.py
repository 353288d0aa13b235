"""Versions of the models without their face: which there are, which is in use, and training a new one.

Questions run beside everything else, each kind on a job of its own; a training is followed until the server uses what
came of it, or says why it does not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

from ..background.job import Timer
from ..background.queries import Queries
from ..background.signal import Signal
from ..client.models import TRAINER, ModelsClient
from .logic import Logic

TICK_MILLISECONDS = 2000
"""Between two questions how far the server is, while it trains or changes over."""
CALM = 15
"""Ticks between two such questions while it does not."""
PATIENCE = 60
"""Ticks for which a new version that was chosen is waited for."""


@dataclass
class Run:
    """A training that is followed.

    Attributes:
        id: Of the server's task.
        minutes: How long it is to train.
        since: When it began, by our clock; None: it ran already when it was first seen.
        known: Ids of the versions that there were before.
        over: Ticks since it was done.
    """

    id: str
    minutes: float
    since: float | None
    known: frozenset[str]
    over: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        state: ``done``, ``failed``, ``stopped`` or ``lost``.
        version: What came of it, where it is done and anything did.
        line: The last that it said.
    """

    state: str
    version: dict | None = None
    line: str = ""


class Models:
    """The versions of a server's models, and the training of new ones.

    Signals: ``changed()`` when something about the state is new; ``chosen()`` when somebody's choice was taken;
    ``ended(outcome)`` of a training; ``switched(about)`` when another pair is in use; ``failed(error)``.

    Args:
        logic: Knows the server.
        new_timer: Makes timers of the main thread.
        new_client: Makes the client of the routes for models.
        every: Milliseconds of a tick.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        logic: Logic,
        new_timer: Callable[[], Timer],
        new_client: Callable[[Any], ModelsClient] = ModelsClient,
        every: int = TICK_MILLISECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.logic, self.now = logic, now
        self.told: dict | None = None
        self.training: dict | None = None
        self.offered, self.reachable, self.stopping = True, True, False
        self.changed, self.chosen, self.ended = Signal(), Signal(), Signal()
        self.switched, self.failed = Signal(), Signal()
        self._asking = Queries(new_timer, self.failed)
        self._new_client, self._every = new_client, every
        self._client_of_models: ModelsClient | None = None
        self._of: Any = None
        self._clock = new_timer()
        self._ticks = 0
        self._run: Run | None = None
        logic.connected.connect(self.begin)

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a server that has versions of its models."""
        return self._client_of_models is not None and self.logic.client is self._of and self.offered

    @property
    def versions(self) -> list[dict]:
        """Every version, the newest first."""
        return list(reversed((self.told or {}).get("versions", [])))

    @property
    def in_use(self) -> dict | None:
        """The version that answers now."""
        return next((version for version in self.versions if version.get("in_use")), None)

    @property
    def active(self) -> str:
        """Id of the version that was chosen; while the server changes over, another one is in use."""
        return str((self.told or {}).get("active", ""))

    @property
    def problem(self) -> str:
        """Why the version that was chosen is not in use; empty: nothing is wrong."""
        return str((self.told or {}).get("problem") or "")

    @property
    def running(self) -> bool:
        """Whether a training is followed: it runs, or the server takes over what came of it."""
        return self._run is not None

    @property
    def stoppable(self) -> bool:
        """Whether there is a training that could be stopped."""
        return self._run is not None and not self._run.over and not self.stopping

    @property
    def changing(self) -> bool:
        """Whether a choice, a training or a stop is on its way to the server."""
        return any(self._asking.is_open(kind) for kind in ("choose", "train", "stop"))

    @property
    def fraction(self) -> float | None:
        """How much of its time a training has had; None: nobody knows, or its time is up."""
        run = self._run
        if run is None or run.since is None or run.minutes <= 0:
            return None
        share = (self.now() - run.since) / (60 * run.minutes)
        return share if share < 1 else None

    @property
    def time_is_up(self) -> bool:
        """Whether a training has had its minutes; getting ready before and measuring after come on top of them."""
        return self._run is not None and self._run.since is not None and self.fraction is None

    @property
    def line(self) -> str:
        """The last that the training said."""
        return next(iter((self.training or {}).get("details", [])[-1:]), "")

    # -- the server ----------------------------------------------------------------------------------------------

    def begin(self, about: dict | None = None) -> None:
        """A server has been connected: ask what it has."""
        self._stop()
        self._of = self.logic.client
        self._client_of_models = self._new_client(self._of)
        self.told, self.training, self._run = None, None, None
        self.offered, self.reachable, self.stopping = True, True, False
        self._ticks = 0

        def came(answer: tuple) -> None:
            self._looked(answer)
            self._clock.start(self._every, self._tick)

        self._asking.ask("look", self._client_of_models.look, came, self._unoffered)
        self.changed.emit()

    def close(self) -> None:
        """Stop everything and tell nobody."""
        self._stop()
        self.logic.connected.disconnect(self.begin)

    # -- gestures ------------------------------------------------------------------------------------------------

    def activate(self, id: str) -> None:
        """Use a version from now on, for everybody; ``chosen()`` follows."""
        client = self._client
        if client is not None:
            self._change("choose", lambda: client.activate(id), self._chosen)

    def roll_back(self) -> None:
        """Use what was in use before, for everybody; ``chosen()`` follows."""
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
        """Stop the training that runs; ``ended(outcome)`` follows."""
        client = self._client

        def stopped(nothing: object) -> None:
            self._look()

        if client is not None and self.stoppable:
            self.stopping = True
            self._change("stop", client.stop, stopped)

    # -- how it goes on ------------------------------------------------------------------------------------------

    @property
    def _client(self) -> ModelsClient | None:
        return self._client_of_models if self.connected else None

    def _known(self) -> frozenset[str]:
        return frozenset(version["id"] for version in self.versions)

    def _change(self, kind: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        def failed(error: BaseException) -> None:
            self.stopping = self.stopping and kind != "stop"
            self.failed.emit(error)
            # Somebody else may have been faster: show what is so.
            self._look()

        # What was asked before something is changed would be old when it comes.
        self._asking.forget("look")
        self._asking.ask(kind, work, done, failed)
        self.changed.emit()

    def _chosen(self, told: dict) -> None:
        self._learn(told)
        self.chosen.emit()
        self.changed.emit()

    def _tick(self) -> None:
        self._ticks += 1
        changing_over = bool(self.active) and (self.in_use or {}).get("id") != self.active and not self.problem
        if self._run is not None or changing_over or self._ticks % CALM == 0:
            self._look()

    def _look(self) -> None:
        client = self._client
        if client is not None and not self.changing and not self._asking.is_open("look"):
            self._asking.ask("look", client.look, self._looked, self._lost)

    def _looked(self, answer: tuple) -> None:
        training, told = answer
        self.reachable = True
        known = self._known() if self.told is not None else frozenset(v["id"] for v in told["versions"])
        self._learn(told)
        self._follow(training, known)
        self.changed.emit()

    def _learn(self, told: dict) -> None:
        before, self.told = self.in_use, told
        now = self.in_use
        if before is not None and now is not None and before["id"] != now["id"]:
            self._asking.ask("about", self._of.about, self._switched, lambda error: None)

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
            self._end(Outcome("lost"))
        elif run is not None and training is not None and not running:
            self._finish(run, training)

    def _finish(self, run: Run, training: dict) -> None:
        if training["status"] == "STOPPED" or (self.stopping and training["status"] == "ERROR"):
            self._end(Outcome("stopped"))
        elif training["status"] == "ERROR":
            self._end(Outcome("failed", line=self.line))
        else:
            made = next((version for version in self.versions if version["id"] not in run.known), None)
            run.over += 1
            waits = made is not None and made["id"] == self.active and not made.get("in_use") and not self.problem
            if not waits or run.over > PATIENCE:
                self._end(Outcome("done", made))

    def _end(self, outcome: Outcome) -> None:
        self._run, self.stopping = None, False
        self.ended.emit(outcome)

    def _lost(self, error: BaseException) -> None:
        # What was known stays, and it is asked again.
        self.reachable = False
        self.changed.emit()

    def _unoffered(self, error: BaseException) -> None:
        self.offered = False
        if getattr(error, "status", 0) != 404:
            self.failed.emit(error)
        self.changed.emit()

    def _stop(self) -> None:
        self._clock.stop()
        self._asking.stop()
