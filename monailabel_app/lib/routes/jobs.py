"""``/otherwise/jobs``: start, watch, fetch and cancel work, without holding a connection open for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, format_sse_event
from monailabel.config import RBAC_USER
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lib.http.caller import caller_of, user_of
from lib.http.counting import counted
from lib.http.work_threads import WorkThreads
from lib.infers.kinds import KINDS
from lib.jobs.model import Job
from lib.jobs.service import JobService, no_job
from lib.jobs.spec import JobSpec
from lib.routes.replies.jobs import EVENTS, JobReply
from lib.runtime.worker import BusyError

LOOK_SECONDS = 0.1
"""Seconds between two checks for news of jobs."""
HEARTBEAT_SECONDS = 15.0
"""Seconds without news after which a comment is sent, so that no proxy closes the stream."""

STREAMS_PER_USER = 8
STREAMS = 128
"""Open streams of all users, beyond which only users without one may open one."""


def known_kind(kind: str) -> str:
    """Return the kind of a job.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}")
    return kind


Kind = Annotated[str, AfterValidator(known_kind), Field(json_schema_extra={"enum": list(KINDS)})]
State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class JobBody(BaseModel):
    """The request of a job."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = "explain"
    image: str = Field("", max_length=255, description="Id of an image of the studies")
    session: str = Field("", max_length=64, description="Id of a session, which goes before an image")
    explanation: str = Field("", max_length=128, description="Id of the explanation that an attribution is about")
    params: dict[str, Any] = Field(default_factory=dict, description="Options, as /info/ lists them")
    deadline_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="How long it may take, its waiting included; then it has failed"
    )
    fresh: bool = Field(False, description="Compute even what is known, and what somebody else asks for just now")


def jobs_router(
    jobs: JobService,
    threads: WorkThreads,
    route: type[APIRoute],
    heartbeat: float = HEARTBEAT_SECONDS,
    still_known: Callable[[Request], Awaitable[bool]] | None = None,
) -> APIRouter:
    """Make the routes.

    Args:
        jobs: Where jobs are kept.
        threads: For reading images.
        route: Class of the routes.
        heartbeat: See ``HEARTBEAT_SECONDS``.
        still_known: Asked at every heartbeat whether the listener may still be served; the stream ends if not.
    """
    streams = StreamLimit()

    def follow(
        watched: Callable[[], Iterable[Job]], request: Request, until: Callable[[], bool] | None = None
    ) -> AsyncIterator[bytes]:
        streams.refuse_if_full(user_of(request))

        async def counted() -> AsyncIterator[bytes]:
            with streams.open(user_of(request)):
                async for event in _follow(watched, request, heartbeat, until, still_known):
                    yield event

        return counted()

    router = APIRouter(prefix="/otherwise/jobs", tags=["Otherwise"], route_class=route)

    def find(id: str, request: Request) -> Job:
        job = jobs.find(id)
        if not sees(request, job):
            raise no_job(id)
        return job

    @router.post("", status_code=202, summary=f"{RBAC_USER}Start a job", response_model=JobReply)
    async def start(body: JobBody, request: Request) -> JSONResponse:
        user, caller = user_of(request), caller_of(request)
        job = await threads.run(lambda: jobs.start(JobSpec(**body.model_dump()), user, caller), user)
        return JSONResponse(job.describe(), 202)

    @router.get("", summary=f"{RBAC_USER}Jobs, the newest first", response_model=list[JobReply])
    def list_jobs(
        request: Request, mine: bool = False, state: Annotated[list[State] | None, Query()] = None
    ) -> JSONResponse:
        found = jobs.list(user_of(request) if mine else None, state or ())
        return JSONResponse([job.describe() for job in found if sees(request, job)])

    @router.get(
        "/events",
        summary=f"{RBAC_USER}Whatever changes about one's own jobs, as server-sent events",
        response_class=Response,
        responses=EVENTS,
    )
    async def all_events(request: Request) -> EventSourceResponse:
        user = user_of(request)
        return _stream(follow(lambda: jobs.list(user), request))

    @router.get("/{id}", summary=f"{RBAC_USER}How far a job is, and what came out", response_model=JobReply)
    def look(id: str, request: Request) -> JSONResponse:
        return JSONResponse(find(id, request).describe())

    @router.get(
        "/{id}/events",
        summary=f"{RBAC_USER}The same whenever it changes, as server-sent events",
        response_class=Response,
        responses=EVENTS,
    )
    async def events(id: str, request: Request) -> EventSourceResponse:
        job = find(id, request)
        return _stream(follow(lambda: [job], request, lambda: job.finished))

    @router.post(
        "/{id}/repeat", status_code=202, summary=f"{RBAC_USER}Start the same job once more", response_model=JobReply
    )
    async def repeat(id: str, request: Request) -> JSONResponse:
        job, user, caller = find(id, request), user_of(request), caller_of(request)
        again = await threads.run(lambda: jobs.repeat(job, user, caller), user)
        return JSONResponse(again.describe(), 202)

    @router.delete("/{id}", status_code=202, summary=f"{RBAC_USER}Cancel a job", response_model=JobReply)
    def cancel(id: str, request: Request) -> JSONResponse:
        job = find(id, request)
        jobs.cancel(job)
        return JSONResponse(job.describe(), 202)

    return router


def sees(request: Request, job: Job) -> bool:
    """Return whether a job is visible: to its owner, to administrators, and to everybody where nobody logs in."""
    user, role = getattr(request.state, "user", ""), getattr(request.state, "role", None)
    return not user or job.user == user or getattr(role, "name", "") == "ADMIN"


def _stream(events: AsyncIterator[bytes]) -> EventSourceResponse:
    return EventSourceResponse(events, headers={"Cache-Control": "no-store"})


class StreamLimit:
    """Counts open event streams; used on the event loop only."""

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()

    @contextmanager
    def open(self, user: str) -> Iterator[None]:
        """Count a stream while it is open."""
        with counted(self._users, user):
            yield

    def refuse_if_full(self, user: str) -> None:
        """Refuse one more stream if there are too many.

        Raises:
            BusyError: if this user, or all users together, have too many.
        """
        mine = self._users[user]
        if mine >= STREAMS_PER_USER or (mine and self._users.total() >= STREAMS):
            raise BusyError(f"{mine} streams of events are open for you.", "Close some, or ask for a job now and then.")


async def _follow(
    watched: Callable[[], Iterable[Job]],
    request: Request,
    heartbeat: float,
    until: Callable[[], bool] | None = None,
    still_known: Callable[[Request], Awaitable[bool]] | None = None,
) -> AsyncIterator[bytes]:
    """Yield server-sent events of changes.

    Args:
        watched: Returns the jobs.
        request: Request of the listener.
        heartbeat: See ``HEARTBEAT_SECONDS``.
        until: Returns whether nothing will change any more. Without it the stream goes on, and starts with jobs that
            have not ended.
        still_known: Returns whether the listener may still be served; asked at every heartbeat.
    """
    sent = {} if until else {job.id: job.signature for job in watched() if job.finished}
    last = checked = time.monotonic()
    while not await request.is_disconnected():
        over = until is not None and until()  # asked first, so that the last change is sent
        for job in watched():
            if sent.get(job.id) != (signature := job.signature):
                sent[job.id], last = signature, time.monotonic()
                now = job.describe()
                yield format_sse_event(event=now["state"], data_str=json.dumps(now))
        if over:
            return
        if still_known is not None and time.monotonic() - checked >= heartbeat:
            checked = time.monotonic()
            if not await still_known(request):
                return
        if time.monotonic() - last >= heartbeat:
            last = time.monotonic()
            yield format_sse_event(comment="keep-alive")
        await asyncio.sleep(LOOK_SECONDS)
