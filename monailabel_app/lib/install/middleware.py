"""What stands around all routes of the server, MONAI Label's own included."""

from __future__ import annotations

from fastapi import FastAPI
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_current_user
from starlette.middleware import Middleware

from lib.access.authentication import Authentication, stock_user
from lib.access.selection import authenticator
from lib.http.origins import Origins
from lib.http.rates import RateLimit
from lib.http.request_log import RequestLog
from lib.http.templates import RouteTemplates
from lib.observability.metrics import Metrics
from lib.settings.options import Options


def install_layers(server: FastAPI, options: Options, metrics: Metrics) -> None:
    """Put our middleware in the place of MONAI Label's, which only answers any web page.

    ``monailabel start_server`` makes the app while the server starts, when Starlette adds no middleware any more; so
    the list is changed and the stack built anew, which the next request does.

    Raises:
        OtherwiseError: if the file of tokens cannot be used.
    """
    templates = RouteTemplates(server.router.routes)
    access = options.access
    origins = [*access.origins, *(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)]
    # The first is the outermost.
    server.user_middleware[:] = [
        Middleware(RequestLog, templates=templates, metrics=metrics),
        Middleware(Origins, allowed=origins),
        Middleware(Authentication, templates=templates, authenticator=authenticator(access)),
        *([Middleware(RateLimit, rate=access.rate)] if access.rate else []),
    ]
    server.dependency_overrides[get_current_user] = stock_user
    server.middleware_stack = None
