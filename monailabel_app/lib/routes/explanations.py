"""Finished explanations, file by file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER

from lib.http.caller import caller_of, user_of
from lib.http.work_threads import WorkThreads
from lib.routes.replies.base import binary
from lib.routes.replies.explanations import ExplanationReply
from lib.runtime.host import Host
from lib.storage.owners import Caller, Owners, check_visible
from lib.teaching.named_patches import NamedPatches
from lib.teaching.service import TeachingService
from lib.teaching.similar_cases import similar_cases
from otherwise.annotations.vocabulary import Key
from otherwise.explain.explanation import Explanation

if TYPE_CHECKING:
    from otherwise.report.examples import Examples
    from otherwise.report.similar import Similar

# A report brings along all that it shows. Sandboxed, it cannot reach anything else, this server included.
REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; sandbox allow-scripts",
    "X-Content-Type-Options": "nosniff",
}
FILE_HEADERS = {"X-Content-Type-Options": "nosniff"}


def visible_explanation(owners: Owners) -> Callable[[str, Request], None]:
    """Return a dependency that refuses explanations of other people's uploads."""

    def check(id: str, request: Request) -> None:
        check_visible(owners, id, caller_of(request))

    return check


def explanations_router(
    host: Host, teaching: TeachingService, threads: WorkThreads, route: type[APIRoute]
) -> APIRouter:
    """Make the routes below ``/otherwise/explanations``. Replies carry the newest names."""
    store = host.store
    router = APIRouter(
        prefix="/otherwise/explanations",
        tags=["Otherwise"],
        route_class=route,
        dependencies=[Depends(visible_explanation(host.owners))],
    )

    patches = NamedPatches(teaching)

    def report_content(id: str, caller: Caller) -> tuple[Explanation, Examples, set[Key], Similar]:
        explanation, names = teaching.explanation(id), teaching.names(id)
        explanation = names.put_into(explanation) if names else explanation
        terms = [entry.term for entry in explanation.concepts.entries if entry.term] if explanation.concepts else []
        return (
            explanation,
            patches.of(terms, host.owners.get(id)),
            {t.key for t in terms if teaching.vocabulary.spurious(t)},
            similar_cases(teaching, explanation, caller),
        )

    @router.get("/{id}", summary=f"{RBAC_USER}explanation.json", response_model=ExplanationReply)
    def explanation(id: str) -> JSONResponse:
        content = store.content(id)
        names = teaching.names(id)
        return JSONResponse(names.put_into_json(content) if names else content, headers=FILE_HEADERS)

    @router.get(
        "/{id}/files/{name}",
        summary=f"{RBAC_USER}One file of an explanation",
        response_class=Response,
        responses=binary("application/octet-stream"),
    )
    def file(id: str, name: str) -> FileResponse:
        path = store.file(id, name)
        # Sent as a download, so that a page among the files never runs with this server's address.
        return FileResponse(path, media_type="application/octet-stream", filename=name, headers=FILE_HEADERS)

    @router.get(
        "/{id}/report.html",
        summary=f"{RBAC_USER}The report, a page that needs no network",
        response_class=Response,
        responses=binary("text/html"),
    )
    async def report(id: str, request: Request) -> Response:
        return await threads.run(lambda: page(id, caller_of(request)), user_of(request))

    def page(id: str, caller: Caller) -> Response:
        if teaching.names(id) is None:  # nobody has taught anything: the stored page is complete
            return FileResponse(store.file(id, "report.html"), media_type="text/html", headers=REPORT_HEADERS)
        from otherwise.report.html import render_report  # loads matplotlib: not while the server starts

        return HTMLResponse(render_report(*report_content(id, caller)), headers=REPORT_HEADERS)

    @router.get(
        "/{id}/report.pdf",
        summary=f"{RBAC_USER}The report as PDF, for the archive and for print",
        response_class=Response,
        responses=binary("application/pdf"),
    )
    async def printed(id: str, request: Request) -> FileResponse:
        return await threads.run(lambda: pdf(id, caller_of(request)), user_of(request))

    def pdf(id: str, caller: Caller) -> FileResponse:
        from otherwise.report.pdf import write_pdf  # loads matplotlib: not while the server starts

        # One file for each version of the names and each set of cases that a caller may see: a PDF is drawn once.
        explanation, examples, spurious, similar = report_content(id, caller)
        names = teaching.names(id)
        shown = repr([(label, [(case.patch.title, case.names) for case in cases]) for label, cases in similar.items()])
        version = f"-{names.digest}-{hashlib.sha256(shown.encode()).hexdigest()[:8]}" if names else ""
        made = store.folder(id) / f"report{version}.pdf"
        if not made.is_file():
            write_pdf(explanation, made, examples, spurious, similar)
            for older in made.parent.glob("report*.pdf"):
                if older != made:
                    older.unlink(missing_ok=True)
        return FileResponse(made, media_type="application/pdf", filename=f"{id}.pdf", headers=FILE_HEADERS)

    return router
