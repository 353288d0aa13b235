"""The jobs of a server: accepted, shared, cached, cancelled, timed out, and resumed after a restart."""

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

from lib.infers.explain import response_for
from lib.infers.task import TaskAnswer
from lib.jobs.model import LATE, DeadlineError, Job, JobResult, SharedRun
from lib.jobs.spec import JobResolver, JobSpec, ResolvedJob
from lib.jobs.store import JobStore
from lib.runtime.worker import Cancelled, Worker
from lib.storage.explanation_store import ExplanationStore, NotFoundError
from lib.storage.owners import ITSELF, Caller
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.images.image import Image

logger = logging.getLogger(__name__)

KEPT = 256
"""Finished jobs that are remembered. The oldest are forgotten first; their explanations stay."""
RESUME_PATIENCE = 3600.0
"""Seconds that an accepted job waits for memory after a restart."""
WATCH_SECONDS = 0.2
"""Seconds between two checks of deadlines."""


class NotFinishedError(OtherwiseError):
    """A job that has not ended cannot be repeated."""

    code = "not-finished"
    status = 409


class JobService:
    """The jobs of a server, by id.

    Args:
        resolver: Finds what a specification is about.
        worker: Does the work.
        store: Where explanations are kept.
        saved: Record of the jobs on disk.
        longest: Seconds that any job may take, its waiting included.

    Attributes:
        kept: See ``KEPT``.
    """

    def __init__(
        self, resolver: JobResolver, worker: Worker, store: ExplanationStore, saved: JobStore, longest: float
    ) -> None:
        self.kept = KEPT
        self._resolver, self._worker, self._store, self._saved, self._longest = resolver, worker, store, saved, longest
        self._jobs: dict[str, Job] = {}
        self._runs: dict[str, SharedRun] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        threading.Thread(target=self._watch, name="otherwise-deadlines", daemon=True).start()

    def start(self, spec: JobSpec, user: str, caller: Caller) -> Job:
        """Accept a job; once this returns, it is on the disk.

        Args:
            spec: The request.
            user: The user whose turn it takes, see ``lib.http.caller.user_of``.
            caller: The user whose images it may use.

        Raises:
            OtherwiseError: if the request or its image cannot be used, too many jobs wait, or the disk is full.
        """
        resolved, image = self._resolve(spec, user, caller)
        key = resolved.key(image)
        job = self._new_job(spec, user, resolved.source.id)
        known = None if spec.fresh else self._known(key)
        if known is not None:
            job.cached, job.result = True, JobResult("done", result=known)
            self._saved.add(job)
            self._counts["cached"] += 1
        else:
            if spec.fresh or key not in self._runs:
                self._worker.refuse_if_full(user)
            # Recorded first: the job may start, and end, before the next line.
            self._saved.add(job)
            try:
                self._place(job, resolved, image, key)
            except BaseException:
                self._saved.forget([job.id])
                raise
        self._remember(job)
        return job

    def repeat(self, job: Job, user: str, caller: Caller) -> Job:
        """Accept the same job once more.

        Raises:
            NotFinishedError: if it has not ended.
            OtherwiseError: as ``start``.
        """
        if not job.finished:
            raise NotFinishedError("The job has not ended.", "Wait for it, or cancel it.")
        return self.start(job.spec, user, caller)

    def find(self, id: str) -> Job:
        """Find a job.

        Raises:
            NotFoundError: if there is none of this id, any more or at all.
        """
        with self._lock:
            job = self._jobs.get(id)
        if job is None:
            raise no_job(id)
        return job

    def list(self, user: str | None = None, states: Collection[str] = ()) -> list[Job]:
        """Return jobs, the newest first; of one user, in some states, or all."""
        with self._lock:
            jobs = list(reversed(self._jobs.values()))
        return [job for job in jobs if (user is None or job.user == user) and (not states or job.state in states)]

    def cancel(self, job: Job) -> None:
        """Cancel a job. A run that other jobs wait for goes on; a job that has ended stays as it is."""
        with self._lock:
            run = job.run
            alone = run is not None and run.wanted == [job]
            if alone and run is not None:
                self._drop(run)
        if alone and run is not None and run.item is not None:
            run.item.abandon()  # the job ends once the run has stopped
        else:
            self._end([job], JobResult("cancelled"))

    def resume(self) -> None:
        """Resume the jobs of a former server: waiting jobs wait again, running ones become interrupted.

        Raises:
            StorageError: if the record cannot be used.
        """
        waiting = []
        for row in self._saved.all():
            job = self._new_job(row.spec, row.user, row.image, row.id, row.created)
            job.cached, job.result = row.cached, row.result
            if row.state == "running":
                job.result = JobResult.interrupted("The server stopped while the job ran.")
                with _logged("An interrupted job is recorded as one that runs"):
                    self._saved.ended([job.id], job.result)
            elif row.state == "queued":
                waiting.append(job)
            self._remember(job)
        if waiting:
            logger.info("%d jobs are taken up again", len(waiting))
            threading.Thread(target=self._resume, args=(waiting,), name="otherwise-resuming", daemon=True).start()

    def forget_answers(self, explanation: str) -> None:
        """Forget the keys that a removed explanation answers.

        Raises:
            StorageError: if the record cannot be written.
        """
        self._saved.forget_answers(explanation)

    def figures(self) -> dict[str, float]:
        """Return the numbers of jobs that wait, run, have ended since the start, and needed no run."""
        states = Counter(job.state for job in self.list())
        ended = {state: self._counts[state] for state in ("done", "failed", "cancelled", "interrupted")}
        saved = {name: self._counts[name] for name in ("cached", "shared", "deadline")}
        return {"queued": states["queued"], "running": states["running"], **ended, **saved}

    def close(self, timeout: float = 10.0) -> None:
        """Stop the worker; the next server runs the jobs that wait or run."""
        self._closing.set()
        self._worker.close(timeout)
        try:
            self._saved.requeue()
        except OtherwiseError as error:
            logger.warning("What runs will be interrupted: %s", error.detail)
        self._saved.close()

    def _new_job(self, spec: JobSpec, user: str, image: str, id: str = "", created: str = "") -> Job:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seconds = min(spec.deadline_seconds or self._longest, self._longest)
        return Job(id or uuid.uuid4().hex, user, created or now, spec, image, time.monotonic() + seconds)

    def _resolve(
        self, spec: JobSpec, user: str, caller: Caller, patience: float | None = None
    ) -> tuple[ResolvedJob, Image]:
        resolved = self._resolver.open(spec, caller)
        return resolved, resolved.task.read(resolved.source, user, patience)

    def _known(self, key: str) -> dict[str, Any] | None:
        """Return the answer to a key; None if its explanation does not exist."""
        id = self._saved.answer(key)
        if id is None:
            return None
        try:
            return response_for(self._store.folder(id))
        except (NotFoundError, OSError):
            with _logged("An explanation that is gone is still recorded"):
                self.forget_answers(id)
            return None

    def _place(self, job: Job, resolved: ResolvedJob, image: Image, key: str, promised: bool = False) -> None:
        """Let a job wait for the run that answers it: an existing one, or a new one."""
        with self._lock:
            if job.ending:  # somebody cancelled it while its image was read again
                return
            run = None if job.spec.fresh else self._runs.get(key)
            if run is not None:
                self._counts["shared"] += 1
                run.wanted.append(job)
                job.run, job.progress = run, run.progress
                return
            run = SharedRun(key, wanted=[job])

            def work(cancelled: Cancelled) -> TaskAnswer:
                self._begun(run)
                return resolved.task.run(image, resolved.arguments, cancelled, run.progress)

            run.item = item = self._worker.submit(
                work, user=job.user, interactive=resolved.task.interactive, promised=promised
            )
            job.run, job.progress = run, run.progress
            self._runs[key] = run
        item.future.add_done_callback(lambda future: self._done(run, resolved))

    def _begun(self, run: SharedRun) -> None:
        with self._lock:
            ids = [job.id for job in run.wanted]
        with _logged("A job that runs is recorded as one that waits"):
            self._saved.begun(ids)

    def _done(self, run: SharedRun, resolved: ResolvedJob) -> None:
        """End all jobs that wait for a run."""
        with self._lock:
            self._drop(run)
            wanted = list(run.wanted)
        assert run.item is not None
        incident = wanted[0].id if wanted else uuid.uuid4().hex
        result, unexpected = JobResult.of(run.item.future, incident)
        if unexpected is not None:
            logger.error("Job %s failed", incident, exc_info=unexpected)
        if result.state == "cancelled" and self._closing.is_set():
            return  # the next server takes it up
        self._end(wanted, result, resolved)

    def _end(self, jobs: Iterable[Job], result: JobResult, resolved: ResolvedJob | None = None) -> None:
        """Record the result of jobs, then show it; a run that no job waits for any more is stopped."""
        with self._lock:
            ending = [job for job in jobs if not job.ending]
            for job in ending:
                job.ending = True
        if ending:
            answers = resolved.answers(result.result) if resolved is not None and result.result is not None else []
            with _logged("The end of a job is not recorded"):
                self._saved.ended([job.id for job in ending], result, answers)
        left = []
        with self._lock:
            for job in ending:
                self._counts[result.state] += 1  # first: whoever sees the job ended finds it counted
                job.result = result
                # The run refers to the image, whose memory is released with it.
                run, job.run = job.run, None
                if run is not None:
                    run.wanted.remove(job)
                    if not run.wanted and run.item is not None:
                        self._drop(run)
                        left.append(run.item)
        for item in left:
            item.abandon()

    def _drop(self, run: SharedRun) -> None:
        """Let no further job join a run."""
        if self._runs.get(run.key) is run:
            del self._runs[run.key]

    def _remember(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.id] = job
            finished = [id for id, old in self._jobs.items() if old.finished]
            old = finished[: max(0, len(finished) - self.kept)]
            for id in old:
                del self._jobs[id]
        if old:
            with _logged("Old jobs are still recorded"):
                self._saved.forget(old)

    def _resume(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if self._closing.is_set():
                return
            if job.ending:
                continue
            try:
                resolved, image = self._resolve(job.spec, job.user, ITSELF, RESUME_PATIENCE)
                self._place(job, resolved, image, resolved.key(image), promised=True)
            except CancelledError:
                return
            except OtherwiseError as error:
                self._end([job], JobResult.interrupted(f"The server was started anew, and now: {error.detail}"))
            except Exception:
                logger.exception("Job %s cannot be taken up again", job.id)
                self._end([job], JobResult.interrupted("The server was started anew; its log tells more."))

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_SECONDS):
            now = time.monotonic()
            for job in self.list(states=("queued", "running")):
                if now > job.deadline and not job.ending:
                    self._counts["deadline"] += 1
                    error = DeadlineError(LATE, "Give it more time, or ask when fewer jobs wait.")
                    self._end([job], JobResult.failed(error))


def no_job(id: str) -> NotFoundError:
    """Return the error for a job that does not exist (any more), or that belongs to another user."""
    return NotFoundError(f"There is no job {id[:64]!r}.", "POST /otherwise/jobs starts one; old ones expire.")


@contextmanager
def _logged(consequence: str) -> Iterator[None]:
    """Continue although the record cannot be written, and log the consequence."""
    try:
        yield
    except OtherwiseError as error:
        logger.warning("%s: %s", consequence, error.detail)
