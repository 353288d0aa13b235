"""Install our routes, and the wrappers of MONAI Label's, in MONAI Label's server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request

from lib.http.error_handlers import install_error_handlers
from lib.http.errors import route_class
from lib.http.work_threads import WorkThreads
from lib.install.middleware import install_middleware
from lib.observability.health import Health
from lib.routes.about import about_router, unknown_router
from lib.routes.archive_images import archive_routers
from lib.routes.dicom import dicom_router
from lib.routes.explanations import explanations_router
from lib.routes.infer import infer_router
from lib.routes.jobs import jobs_router
from lib.routes.models import models_router
from lib.routes.observability import observability_router
from lib.routes.pages import pages_router
from lib.routes.replies.base import ERRORS
from lib.routes.studies import studies_router
from lib.routes.teaching import teaching_router, train_router
from lib.runtime.stock_server import stock_server
from lib.settings.options import MIB
from lib.stock_routes.wrapped import closed_router, guarded_router
from lib.storage.image_sources import from_session
from lib.storage.owners import Caller
from otherwise.images.image import Image

if TYPE_CHECKING:
    from main import OtherwiseApp


def install_app(app: OtherwiseApp) -> None:
    """Let MONAI Label's server answer with this app only."""
    server = stock_server()
    route = route_class(app.options.upload_mib * MIB, ERRORS)

    async def still_known(request: Request) -> bool:
        caller = await app.authenticator.identify(request.state.token)
        return caller is not None and caller.user == request.state.user

    def session(id: str, caller: Caller) -> Image:
        return from_session(app.sessions(), id, caller).read(app.host.reading, caller.user)

    # Reading and asking wait for memory and for the device; drawing computes in Python, where threads gain little.
    reading = WorkThreads("otherwise-reading", threads=8, per_user=4)
    drawing = WorkThreads("otherwise-drawing", threads=2, per_user=8)
    asking = WorkThreads("otherwise-asking", threads=8, per_user=4)
    loading = WorkThreads("otherwise-loading", threads=1, per_user=2)
    health = Health(app.host, app.options.state, app.teaching.annotations.head, app.authenticator.check)
    routers = [
        infer_router(app, app.tasks, route, app.options.deadline_seconds, reading),
        about_router(app.host, app.options, route),
        observability_router(app.host, health, app.metrics, route),
        jobs_router(app.jobs, reading, route, still_known=still_known),
        explanations_router(app.host, app.teaching, drawing, route),
        teaching_router(app.teaching, session, asking, drawing, route),
        train_router(app.teaching, route),
        models_router(app.switcher, loading, route),
        studies_router(app, drawing, route),
        *archive_routers(app.datastore(), app.host.reading, reading, route),
        dicom_router(app.datastore(), app.host, app.teaching, drawing, route, app.options.store_to),
        pages_router(server.openapi, route),
        unknown_router(route),
        guarded_router(app, route),
        closed_router(route),
    ]
    keep_pages(server)
    install(server, routers)
    install_error_handlers(server)
    install_middleware(server, app.options, app.metrics, app.authenticator)
    # MONAI Label may make the app again in the same process.
    former, server.state.otherwise = getattr(server.state, "otherwise", None), app
    if former is not None:
        former.switcher.close()
        former.retention.close()
        former.teaching.close()
        former.jobs.close(timeout=0)
        former.let_go()
        app.begin()  # MONAI Label does not say so after a reload


PAGES = ("/static", "/favicon.ico")
"""Routes of MONAI Label that stay unchanged: static files."""


def keep_pages(server: FastAPI) -> None:
    """Remove all routes but MONAI Label's static files and those of ``install``."""
    routes = server.router.routes
    ours = getattr(server.state, "otherwise_routes", [])
    routes[:] = [route for route in routes if getattr(route, "path", "") in PAGES or any(route is own for own in ours)]


def install(server: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Put the routes of our routers before all others, in place of those of an earlier call.

    ``FastAPI.include_router`` would make each route a second time, at the end.
    """
    routes = server.router.routes
    earlier = getattr(server.state, "otherwise_routes", [])
    ours = [route for router in routers for route in router.routes]
    routes[:] = [*ours, *(route for route in routes if not any(route is old for old in earlier))]
    server.state.otherwise_routes = ours
    server.openapi_schema = None
