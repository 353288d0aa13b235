"""Routes for images of an archive, in the place of MONAI Label's, which would fetch on the event loop."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER
from monailabel.interfaces.datastore import Datastore
from starlette.background import BackgroundTask

from lib.dicomweb.datastore import DicomWebDatastore
from lib.http.caller import user_of
from lib.http.work_threads import WorkThreads
from lib.routes.replies.base import binary
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import from_datastore
from lib.storage.reading_budget import ReadingBudget
from otherwise.images.writing import write_image


def archive_routers(
    datastore: Datastore, budget: ReadingBudget, threads: WorkThreads, route: type[APIRoute]
) -> list[APIRouter]:
    """Make the routes; none where the studies are a folder."""
    if not isinstance(datastore, DicomWebDatastore):
        return []
    router = APIRouter(tags=["Datastore"], route_class=route)

    @router.head("/datastore/image", summary=f"{RBAC_USER}Check If Image Exists", response_class=Response)
    async def exists(image: str, request: Request) -> Response:
        if not await threads.run(lambda: datastore.has(image), user_of(request)):
            raise NotFoundError(f"The studies hold no image {image[:64]!r}.", "GET /datastore/?output=all lists them.")
        return Response()

    @router.get(
        "/datastore/image",
        summary=f"{RBAC_USER}Download Image, as NRRD in the units of its modality",
        response_class=Response,
        responses=binary("application/octet-stream"),
    )
    async def download(image: str, request: Request) -> FileResponse:
        return await threads.run(lambda: convert(image, user_of(request)), user_of(request))

    def convert(image: str, user: str) -> FileResponse:
        source = from_datastore(datastore, image)
        folder = Path(tempfile.mkdtemp(prefix="otherwise-"))  # which nobody else may look into
        removal = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
        try:
            path = write_image(source.read(budget, user), folder / "image.nrrd")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return FileResponse(
            path, media_type="application/octet-stream", filename=f"{source.id}.nrrd", background=removal
        )

    return [router]
