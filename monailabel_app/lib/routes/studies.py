"""``/otherwise/studies``: images of the datastore by examination."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore

from lib.dicomweb.datastore import DicomWebDatastore
from lib.http.caller import user_of
from lib.http.work_threads import WorkThreads
from lib.routes.replies.about import StudiesReply
from lib.storage.served_folder import ServedFolder
from otherwise.images.listing import FoundImage


def studies_router(app: MONAILabelApp, threads: WorkThreads, route: type[APIRoute]) -> APIRouter:
    """Make the route.

    Args:
        app: Owner of the datastore.
        threads: For reading headers.
        route: Class of the routes.
    """
    router = APIRouter(prefix="/otherwise/studies", tags=["Otherwise"], route_class=route)

    @router.get(
        "",
        summary=f"{RBAC_USER}Studies with their images; explanations are of an image",
        response_model=StudiesReply,
        response_model_exclude_unset=True,
    )
    async def studies(request: Request) -> dict[str, Any]:
        return {"studies": await threads.run(lambda: list_studies(app.datastore()), user_of(request))}

    return router


def list_studies(datastore: Datastore) -> list[dict[str, Any]]:
    """Return studies of DICOM files first, then every other image as a study of its own; of an archive its studies."""
    if isinstance(datastore, DicomWebDatastore):
        return datastore.studies()
    if not isinstance(datastore, ServedFolder):
        return [{"id": id, "images": [_describe(id)]} for id in sorted(datastore.list_images())]
    studies: dict[str, list[tuple[str, FoundImage]]] = {}
    for id, found in sorted(datastore.found_images().items(), key=lambda item: (item[1].dicom is None, item[0])):
        studies.setdefault(found.study or id, []).append((id, found))
    for images in studies.values():
        images.sort(key=lambda item: (item[1].dicom.number, item[1].dicom.view) if item[1].dicom else (0, item[0]))
    return [{"id": study, "images": [_describe(*item) for item in images]} for study, images in studies.items()]


def _describe(id: str, found: FoundImage | None = None) -> dict[str, Any]:
    if found is None or found.dicom is None:
        return {"id": id, "modality": "", "view": "", "frames": None}
    return {"id": id, "modality": found.dicom.modality, "view": found.dicom.view, "frames": found.dicom.frames}
