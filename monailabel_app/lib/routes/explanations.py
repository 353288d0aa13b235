"""Finished explanations, file by file."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER, settings
from monailabel.endpoints.user.auth import RBAC

from lib.store import ExplanationStore
from otherwise.report.folder import read_explanation
from otherwise.report.pdf import write_pdf

# A report brings along all that it shows. Sandboxed, it cannot reach anything else, this server included.
REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; sandbox allow-scripts",
    "X-Content-Type-Options": "nosniff",
}
FILE_HEADERS = {"X-Content-Type-Options": "nosniff"}


def explanations_router(store: ExplanationStore, route: type[APIRoute]) -> APIRouter:
    """Make the routes below ``/otherwise/explanations``."""
    router = APIRouter(
        prefix="/otherwise/explanations",
        tags=["Otherwise"],
        route_class=route,
        dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
    )

    @router.get("/{id}", summary=f"{RBAC_USER}explanation.json")
    def explanation(id: str) -> FileResponse:
        return FileResponse(store.file(id, "explanation.json"), media_type="application/json", headers=FILE_HEADERS)

    @router.get("/{id}/files/{name}", summary=f"{RBAC_USER}One file of an explanation")
    def file(id: str, name: str) -> FileResponse:
        path = store.file(id, name)
        # Sent as a download, so that a page among the files never runs with this server's address.
        return FileResponse(path, media_type="application/octet-stream", filename=name, headers=FILE_HEADERS)

    @router.get("/{id}/report.html", summary=f"{RBAC_USER}The report, a page that needs no network")
    def report(id: str) -> FileResponse:
        return FileResponse(store.file(id, "report.html"), media_type="text/html", headers=REPORT_HEADERS)

    @router.get("/{id}/report.pdf", summary=f"{RBAC_USER}The report on two pages, for the archive and for print")
    def printed(id: str) -> FileResponse:
        made = store.folder(id) / "report.pdf"
        if not made.is_file():
            write_pdf(read_explanation(store.folder(id)), made)
        return FileResponse(made, media_type="application/pdf", headers=FILE_HEADERS)

    return router
