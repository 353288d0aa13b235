"""Explanations as DICOM: to fetch, or to be stored in the archive that the image is from."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import RBAC_ANNOTATOR, RBAC_USER
from monailabel.interfaces.datastore import Datastore
from starlette.background import BackgroundTask

from lib.dicomweb.datastore import DicomWebDatastore
from lib.dicomweb.storing import DicomObjects, send_back, store_back
from lib.http.caller import user_of
from lib.http.work_threads import WorkThreads
from lib.routes.explanations import FILE_HEADERS, visible_explanation
from lib.routes.replies.base import binary
from lib.routes.replies.explanations import StoreReply
from lib.runtime.host import Host
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import from_datastore
from lib.teaching.service import TeachingService
from otherwise.errors import OtherwiseError
from otherwise.report.dicom.c_store import Node


class NoArchiveError(OtherwiseError):
    """There is nothing to store objects in."""

    code = "no-archive"
    status = 409


def dicom_router(
    datastore: Datastore,
    host: Host,
    teaching: TeachingService,
    threads: WorkThreads,
    route: type[APIRoute],
    store_to: Node | None = None,
) -> APIRouter:
    """Make the routes.

    Args:
        datastore: Of the images.
        host: Has the explanations and their owners.
        teaching: Knows what regions are called.
        threads: For making objects.
        route: Class of the routes.
        store_to: Archive to send objects to by C-STORE; None: by STOW-RS to the archive that the images are from.
    """
    objects = DicomObjects(host.store, teaching, lambda id: from_datastore(datastore, id).path)
    router = APIRouter(
        prefix="/otherwise/explanations",
        tags=["Otherwise"],
        route_class=route,
        dependencies=[Depends(visible_explanation(host.owners))],
    )

    @router.get(
        "/{id}/dicom.zip",
        summary=f"{RBAC_USER}Regions, maps and report as DICOM, in one archive",
        response_class=Response,
        responses=binary("application/zip"),
    )
    async def zipped(id: str, request: Request) -> FileResponse:
        return await threads.run(lambda: zip_objects(id), user_of(request))

    def zip_objects(id: str) -> FileResponse:
        files = objects.files(id)
        with tempfile.NamedTemporaryFile(prefix="otherwise-", suffix=".zip", delete=False) as file:
            path = Path(file.name)
        try:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
                for each in files.values():
                    packed.write(each, each.name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        removal = BackgroundTask(path.unlink, missing_ok=True)
        return FileResponse(
            path, media_type="application/zip", filename=f"{id}.zip", headers=FILE_HEADERS, background=removal
        )

    @router.get(
        "/{id}/dicom/{name}",
        summary=f"{RBAC_USER}One of them: regions.dcm, effect.dcm, change.dcm, report.dcm, page-1.dcm",
        response_class=Response,
        responses=binary("application/dicom"),
    )
    async def one(id: str, name: str, request: Request) -> FileResponse:
        return await threads.run(lambda: find_object(id, name), user_of(request))

    def find_object(id: str, name: str) -> FileResponse:
        files = {path.name: path for path in objects.files(id).values()}
        if name not in files:
            raise NotFoundError(f"There is no object {name[:64]!r}.", f"Ask for {', '.join(files)}.")
        return FileResponse(files[name], media_type="application/dicom", filename=name, headers=FILE_HEADERS)

    @router.post(
        "/{id}/store",
        summary=f"{RBAC_ANNOTATOR}Store them in the archive that the image is from",
        response_model=StoreReply,
        responses={202: {"model": StoreReply}},
    )
    async def keep(id: str, request: Request) -> JSONResponse:
        return await threads.run(lambda: store_in_archive(id), user_of(request))

    def store_in_archive(id: str) -> JSONResponse:
        if store_to:
            answer = send_back(store_to, objects.files(id))
        elif isinstance(datastore, DicomWebDatastore):
            answer = store_back(datastore.archive, objects.files(id))
        else:
            hint = "Name an archive by the server's option store_to, or GET dicom.zip and store it yourself."
            raise NoArchiveError("The studies are a folder, and no archive.", hint)
        return JSONResponse(answer, 202 if answer["failed"] else 200)  # as STOW-RS has it (PS3.18 10.5.3)

    return router
