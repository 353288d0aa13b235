"""``POST /infer/{model}``: MONAI Label's own address, with its query, form and replies, in front of its own route.

The stock route computes inside the event loop, takes any path of the server for an image, and lets ``params``
overwrite the image that was asked for. This one checks first and waits for the worker without holding anybody up.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.http.caller import caller_of, user_of
from lib.http.work_threads import WorkThreads
from lib.infers.task import HostedTask, TaskAnswer
from lib.jobs.model import LATE, DeadlineError
from lib.routes.replies.base import binary
from lib.routes.stock_reply import NRRD, Output, refuse_output, reply
from lib.runtime.worker import WorkItem
from lib.settings.params import ParamsError, parse
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import Source, from_datastore, from_session, from_upload
from otherwise.errors import CancelledError


def infer_router(
    app: MONAILabelApp, tasks: Mapping[str, HostedTask], route: type[APIRoute], longest: float, threads: WorkThreads
) -> APIRouter:
    """Make the route.

    Args:
        app: Owner of the datastore and the sessions.
        tasks: Tasks by name.
        route: Class of the route.
        longest: Seconds that an answer may take, its waiting included.
        threads: For reading images.
    """
    router = APIRouter(prefix="/infer", tags=["Infer"], route_class=route)

    @router.post(
        "/{model}",
        summary=f"{RBAC_USER}Classify or explain one image",
        response_class=Response,
        responses=binary("application/json", "multipart/form-data", NRRD),
    )
    async def infer(
        request: Request,
        model: str,
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: Output | None = None,
    ) -> Response:
        task = tasks.get(model)
        if task is None:
            raise NotFoundError(f"There is no model {model[:64]!r}.", f"Ask for {' or '.join(sorted(tasks))}.")
        refuse_output(output, has_label_map=task.type == InferType.SEGMENTATION)
        if label:
            raise ParamsError(f"{model} takes no label.", "Send an image only.")
        arguments = task.check(parse(params))

        def start() -> WorkItem[TaskAnswer]:
            with tempfile.TemporaryDirectory(prefix="otherwise-upload-") as folder:
                return task.start(find(Path(folder)), arguments, user_of(request))

        # A session goes before an id: the stock Slicer plug-in sends the volume's name along.
        def find(folder: Path) -> Source:
            if file:
                return from_upload(file, folder, caller_of(request))
            if session_id:
                return from_session(app.sessions(), session_id, caller_of(request))
            return from_datastore(app.datastore(), image)

        job = await threads.run(start, user_of(request))
        return await run_in_threadpool(reply, await _answer(job, request, longest), output)

    @router.post("/{kind}/{model}", include_in_schema=False)
    async def refuse_slides(kind: str, model: str) -> Response:
        raise NotFoundError(
            f"There is no /infer/{kind[:32]} here.", "Whole slides are not supported; use /infer/explain."
        )

    return router


async def _answer(job: WorkItem[TaskAnswer], request: Request, longest: float) -> TaskAnswer:
    """Wait for a job, and abandon it if the client disconnects, or it takes too long."""
    answer: asyncio.Future[Any] = asyncio.wrap_future(job.future)
    gone: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([answer, gone], timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and not gone.done():
            raise DeadlineError(LATE, "Start a job, which can be watched, or ask when fewer requests wait.")
        if not answer.done():
            raise CancelledError("The client hung up.", "Ask again.")
        if answer.cancelled():
            raise CancelledError("The server is shutting down.", "Try again once it is back.")
        result: TaskAnswer = answer.result()
        return result
    finally:
        gone.cancel()
        if not answer.done():
            job.abandon()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
