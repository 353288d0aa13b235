"""``/otherwise/jobs``: start, watch, fetch and cancel work, without holding a connection open for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER, settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.app import MONAILabelApp
from pydantic import BaseModel, ConfigDict, Field

from lib.access.user import user_of
from lib.infers.attribute import explained_source
from lib.infers.params import ParamsError
from lib.infers.task import HostedTask
from lib.jobs import Jobs
from lib.jobs import Request as JobRequest
from lib.routes.sources import from_datastore, from_session
from lib.store import ExplanationStore

LOOK_SECONDS = 0.1
"""Between two looks at a job whose events somebody follows."""


class JobBody(BaseModel):
    """What to do, and with which image."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["explain", "classify", "attribute", "find"] = "explain"
    image: str = Field("", max_length=255, description="Id of an image of the studies")
    session: str = Field("", max_length=64, description="Id of a session, which goes before an image")
    explanation: str = Field("", max_length=128, description="Id of the explanation that an attribution is about")
    params: dict[str, Any] = Field(default_factory=dict, description="Options, as /info/ lists them")


def jobs_router(
    app: MONAILabelApp,
    tasks: Mapping[str, HostedTask],
    jobs: Jobs,
    store: ExplanationStore,
    route: type[APIRoute],
) -> APIRouter:
    """Make the routes.

    Args:
        app: Owner of the datastore and the sessions.
        tasks: What may be asked for, by name.
        jobs: Where jobs are kept.
        store: Where explanations are kept.
        route: Class of the routes.
    """
    router = APIRouter(
        prefix="/otherwise/jobs",
        tags=["Otherwise"],
        route_class=route,
        dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
    )

    @router.post("", status_code=202, summary=f"{RBAC_USER}Start a job")
    async def start(body: JobBody, request: Request) -> dict[str, Any]:
        if body.kind not in tasks:
            raise ParamsError(f"There is nothing to {body.kind} here.", "The classifier looks at whole images.")
        task = tasks[body.kind]
        arguments = task.check(body.params)
        if body.kind != "attribute" and not body.image and not body.session:
            raise ParamsError("Neither image nor session is given.", "Send one of them.")

        def queue() -> JobRequest:
            if body.kind == "attribute":
                source, about = explained_source(store, body.explanation)
                return jobs.start(body.kind, task, source, {**arguments, **about}, user_of(request))
            source = (
                from_session(app.sessions(), body.session)
                if body.session
                else from_datastore(app.datastore(), body.image)
            )
            return jobs.start(body.kind, task, source, arguments, user_of(request))

        return (await run_in_threadpool(queue)).describe()

    @router.get("", summary=f"{RBAC_USER}All jobs, the newest first")
    async def list_jobs() -> list[dict[str, Any]]:
        return [job.describe() for job in jobs.list()]

    @router.get("/{id}", summary=f"{RBAC_USER}How far a job is, and what came out")
    async def look(id: str) -> dict[str, Any]:
        return jobs.find(id).describe()

    @router.get("/{id}/events", summary=f"{RBAC_USER}The same whenever it changes, as server-sent events")
    async def events(id: str, request: Request) -> StreamingResponse:
        return StreamingResponse(_follow(jobs.find(id), request), media_type="text/event-stream")

    @router.delete("/{id}", status_code=202, summary=f"{RBAC_USER}Cancel a job")
    async def cancel(id: str) -> dict[str, Any]:
        job = jobs.find(id)
        job.job.abandon()
        return job.describe()

    return router


async def _follow(job: JobRequest, request: Request) -> AsyncIterator[str]:
    told = ""
    while not await request.is_disconnected():
        now = job.describe()
        # The guess of the time left changes all the time; by itself it is no news.
        news = json.dumps({**now, "seconds_left": None}, sort_keys=True)
        if news != told:
            told = news
            yield f"event: {now['state']}\ndata: {json.dumps(now)}\n\n"
        if now["state"] in ("done", "failed", "cancelled"):
            return
        await asyncio.sleep(LOOK_SECONDS)
