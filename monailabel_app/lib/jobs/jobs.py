"""The jobs of a server: accepted, shared, cached, cancelled, timed out, and taken up again after a restart."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from lib.infers.explain import told_of
from lib.infers.task import Answer
from lib.jobs.order import Desk, Opened, Order
from lib.jobs.record import Record
from lib.jobs.request import LATE, Computation, DeadlineError, Outcome, Request
from lib.store import ExplanationStore, NotFoundError
from lib.worker import Cancelled, Worker
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.images.image import Image

logger = logging.getLogger(__name__)

KEPT = 256
"""Finished jobs that are remembered; the oldest are forgotten first, their explanations stay."""
WATCH_SECONDS = 0.2
"""Between two looks for jobs whose time is up."""


class NotFinishedError(OtherwiseError):
    """A job that has not ended cannot be repeated."""

    code = "not-finished"
    status = 409


class Jobs:
    """The jobs of a server, by id.

    Args:
        desk: Finds what an order is about.
        worker: Does the work.
        store: Where explanations are kept.
        record: Where jobs are.
        longest: Seconds that any job may take, its waiting included.

    Attributes:
        kept: See ``KEPT``.
    """

    def __init__(self, desk: Desk, worker: Worker, store: ExplanationStore, record: Record, longest: float) -> None:
        self.kept = KEPT
        self._desk, self._worker, self._store, self._record, self._longest = desk, worker, store, record, longest
        self._requests: dict[str, Request] = {}
        self._computations: dict[str, Computation] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        threading.Thread(target=self._watch, name="otherwise-deadlines", daemon=True).start()

    def start(self, order: Order, user: str) -> Request:
        """Accept a job; once this returns, it is on the disk.

        Raises:
            OtherwiseError: if the order or its image cannot be used, too many jobs wait, or the disk is full.
        """
        opened, image = self._read(order)
        key = opened.key(image)
        request = self._request(order, user, opened.source.id)
        known = None if order.fresh else self._known(key)
        if known is not None:
            request.cached, request.outcome = True, Outcome("done", result=known)
            self._record.add(request)
            self._counts["cached"] += 1
        else:
            if order.fresh or key not in self._computations:
                self._worker.refuse_if_full(user)
            # Written down first: it may begin, and end, before the next line.
            self._record.add(request)
            try:
                self._place(request, opened, image, key)
            except BaseException:
                self._record.forget([request.id])
                raise
        self._remember(request)
        return request

    def repeat(self, request: Request, user: str) -> Request:
        """Accept the same job once more.

        Raises:
            NotFinishedError: if it has not ended.
            OtherwiseError: as ``start``.
        """
        if not request.finished:
            raise NotFinishedError("The job has not ended.", "Wait for it, or cancel it.")
        return self.start(request.order, user)

    def find(self, id: str) -> Request:
        """Find a job.

        Raises:
            NotFoundError: if there is none of this id, any more or at all.
        """
        with self._lock:
            request = self._requests.get(id)
        if request is None:
            raise no_job(id)
        return request

    def list(self, user: str | None = None, states: Collection[str] = ()) -> list[Request]:
        """Jobs, the newest first; of one user, in some states, or all."""
        with self._lock:
            requests = list(reversed(self._requests.values()))
        return [
            request
            for request in requests
            if (user is None or request.user == user) and (not states or request.state in states)
        ]

    def cancel(self, request: Request) -> None:
        """Stop a job; what others wait for as well goes on. One that is over stays as it is."""
        with self._lock:
            computation = request.computation
            alone = computation is not None and computation.wanted == [request]
            if alone and computation is not None:
                self._drop(computation)
        if alone and computation is not None and computation.job is not None:
            computation.job.abandon()  # its end is told once it has stopped
        else:
            self._end([request], Outcome("cancelled"))

    def resume(self) -> None:
        """Take up what a former server left: what waited waits again, what ran is interrupted.

        Raises:
            StorageError: if the record cannot be used.
        """
        waiting = []
        for row in self._record.all():
            request = self._request(row.order, row.user, row.image, row.id, row.created)
            request.cached, request.outcome = row.cached, row.outcome
            if row.state == "running":
                request.outcome = Outcome.interrupted("The server stopped while the job ran.")
                with _logged("An interrupted job is recorded as one that runs"):
                    self._record.ended([request.id], request.outcome)
            elif row.state == "queued":
                waiting.append(request)
            self._remember(request)
        if waiting:
            logger.info("%d jobs are taken up again", len(waiting))
            threading.Thread(target=self._resume, args=(waiting,), name="otherwise-resuming", daemon=True).start()

    def forget_answers(self, explanation: str) -> None:
        """An explanation is no longer there, so it answers nothing.

        Raises:
            StorageError: if the record cannot be written.
        """
        self._record.forget_answers(explanation)

    def figures(self) -> dict[str, float]:
        """How many jobs wait, run, and have ended since the start, and how many needed no computation."""
        states = Counter(request.state for request in self.list())
        ended = {state: self._counts[state] for state in ("done", "failed", "cancelled", "interrupted")}
        saved = {name: self._counts[name] for name in ("cached", "shared", "deadline")}
        return {"queued": states["queued"], "running": states["running"], **ended, **saved}

    def close(self, timeout: float = 10.0) -> None:
        """Stop the worker; what waits or runs is done by the next server."""
        self._closing.set()
        self._worker.close(timeout)
        try:
            self._record.requeue()
        except OtherwiseError as error:
            logger.warning("What runs will be interrupted: %s", error.detail)
        self._record.close()

    def _request(self, order: Order, user: str, image: str, id: str = "", created: str = "") -> Request:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seconds = min(order.deadline_seconds or self._longest, self._longest)
        return Request(id or uuid.uuid4().hex, user, created or now, order, image, time.monotonic() + seconds)

    def _read(self, order: Order) -> tuple[Opened, Image]:
        opened = self._desk.open(order)
        return opened, opened.task.read(opened.source)

    def _known(self, key: str) -> dict[str, Any] | None:
        """The answer to a key, if its explanation is still there."""
        id = self._record.answer(key)
        if id is None:
            return None
        try:
            return told_of(self._store.folder(id))
        except (NotFoundError, OSError):
            with _logged("An explanation that is gone is still recorded"):
                self.forget_answers(id)
            return None

    def _place(self, request: Request, opened: Opened, image: Image, key: str, promised: bool = False) -> None:
        """Let a request wait for the computation that answers it: one that there is, or a new one."""
        with self._lock:
            if request.ending:  # somebody cancelled it while its image was read again
                return
            computation = None if request.order.fresh else self._computations.get(key)
            if computation is not None:
                self._counts["shared"] += 1
                computation.wanted.append(request)
                request.computation, request.progress = computation, computation.progress
                return
            computation = Computation(key, wanted=[request])

            def work(cancelled: Cancelled) -> Answer:
                self._begun(computation)
                return opened.task.run(image, opened.arguments, cancelled, computation.progress)

            computation.job = job = self._worker.submit(
                work, user=request.user, interactive=opened.task.interactive, promised=promised
            )
            request.computation, request.progress = computation, computation.progress
            self._computations[key] = computation
        job.future.add_done_callback(lambda future: self._done(computation, opened))

    def _begun(self, computation: Computation) -> None:
        with self._lock:
            ids = [request.id for request in computation.wanted]
        with _logged("A job that runs is recorded as one that waits"):
            self._record.begun(ids)

    def _done(self, computation: Computation, opened: Opened) -> None:
        """Tell everybody who waits how a computation ended."""
        with self._lock:
            self._drop(computation)
            wanted = list(computation.wanted)
        assert computation.job is not None
        incident = wanted[0].id if wanted else uuid.uuid4().hex
        outcome, unexpected = Outcome.of(computation.job.future, incident)
        if unexpected is not None:
            logger.error("Job %s failed", incident, exc_info=unexpected)
        if outcome.state == "cancelled" and self._closing.is_set():
            return  # the next server takes it up
        self._end(wanted, outcome, opened)

    def _end(self, requests: Iterable[Request], outcome: Outcome, opened: Opened | None = None) -> None:
        """Write down how requests ended, then tell; whoever wants nothing any more leaves its computation."""
        with self._lock:
            ending = [request for request in requests if not request.ending]
            for request in ending:
                request.ending = True
        if ending:
            answers = opened.answers(outcome.result) if opened is not None and outcome.result is not None else []
            with _logged("The end of a job is not recorded"):
                self._record.ended([request.id for request in ending], outcome, answers)
        left = []
        with self._lock:
            for request in ending:
                request.outcome = outcome
                self._counts[outcome.state] += 1
                # Let go of it, and with it of the image.
                computation, request.computation = request.computation, None
                if computation is not None:
                    computation.wanted.remove(request)
                    if not computation.wanted and computation.job is not None:
                        self._drop(computation)
                        left.append(computation.job)
        for job in left:
            job.abandon()

    def _drop(self, computation: Computation) -> None:
        """Nobody shall join it any more."""
        if self._computations.get(computation.key) is computation:
            del self._computations[computation.key]

    def _remember(self, request: Request) -> None:
        with self._lock:
            self._requests[request.id] = request
            finished = [id for id, old in self._requests.items() if old.finished]
            old = finished[: max(0, len(finished) - self.kept)]
            for id in old:
                del self._requests[id]
        if old:
            with _logged("Old jobs are still recorded"):
                self._record.forget(old)

    def _resume(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if self._closing.is_set():
                return
            if request.ending:
                continue
            try:
                opened, image = self._read(request.order)
                self._place(request, opened, image, opened.key(image), promised=True)
            except CancelledError:
                return
            except OtherwiseError as error:
                self._end([request], Outcome.interrupted(f"The server was started anew, and now: {error.detail}"))
            except Exception:
                logger.exception("Job %s cannot be taken up again", request.id)
                self._end([request], Outcome.interrupted("The server was started anew; its log tells more."))

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_SECONDS):
            now = time.monotonic()
            for request in self.list(states=("queued", "running")):
                if now > request.deadline and not request.ending:
                    self._counts["deadline"] += 1
                    error = DeadlineError(LATE, "Give it more time, or ask when fewer jobs wait.")
                    self._end([request], Outcome.failed(error))


def no_job(id: str) -> NotFoundError:
    """The error for a job that there is not, any more or at all, or that is none of one's business."""
    return NotFoundError(f"There is no job {id[:64]!r}.", "POST /otherwise/jobs starts one; old ones expire.")


@contextmanager
def _logged(consequence: str) -> Iterator[None]:
    """Go on although the record cannot be written: the work itself is worth more."""
    try:
        yield
    except OtherwiseError as error:
        logger.warning("%s: %s", consequence, error.detail)
