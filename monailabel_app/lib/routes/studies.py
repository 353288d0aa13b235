"""``/otherwise/studies``: which images of the datastore belong to one examination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER, settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore

from lib.dicomweb.datastore import DicomWebDatastore
from lib.http.caller import user_of
from lib.http.work_threads import WorkThreads
from otherwise.images.studies import StudyImage, read_studies


def studies_router(app: MONAILabelApp, threads: WorkThreads, route: type[APIRoute]) -> APIRouter:
    """Make the route.

    Args:
        app: Owner of the datastore.
        threads: For reading headers.
        route: Class of the routes.
    """
    router = APIRouter(
        prefix="/otherwise/studies",
        tags=["Otherwise"],
        route_class=route,
        dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
    )

    @router.get("", summary=f"{RBAC_USER}Studies with their images; explanations are of an image")
    async def studies(request: Request) -> dict[str, Any]:
        return {"studies": await threads.run(lambda: list_studies(app.datastore()), user_of(request))}

    return router


def list_studies(datastore: Datastore) -> list[dict[str, Any]]:
    """Studies of DICOM files first, then every other image as one of its own; of an archive what it tells."""
    if isinstance(datastore, DicomWebDatastore):
        return datastore.studies()
    paths = {Path(datastore.get_image_uri(id)): id for id in sorted(datastore.list_images())}
    found = read_studies(path for path in paths if path.suffix.lower() == ".dcm")
    known = {path for study in found for image in study.images for path in image.paths}
    dicom = [
        {"id": study.id, "images": [_describe(paths[path], image) for image in study.images for path in image.paths]}
        for study in found
    ]
    return [*dicom, *({"id": id, "images": [_describe(id)]} for path, id in paths.items() if path not in known)]


def _describe(id: str, image: StudyImage | None = None) -> dict[str, Any]:
    if image is None:
        return {"id": id, "modality": "", "view": "", "frames": None}
    return {"id": id, "modality": image.modality, "view": image.view, "frames": image.frames}
