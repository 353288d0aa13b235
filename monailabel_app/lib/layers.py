"""What stands around all routes of the server, MONAI Label's own included."""

from __future__ import annotations

from fastapi import FastAPI
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_current_user
from starlette.middleware import Middleware

from lib.access.authentication import Authentication, stock_user
from lib.access.choice import authenticator
from lib.access.origins import Origins
from lib.access.rates import Rates
from lib.operations.metrics import Metrics
from lib.operations.requests import Requests
from lib.options import Options
from lib.routes.templates import Templates


def install_layers(server: FastAPI, options: Options, metrics: Metrics) -> None:
    """Put our middleware in the place of MONAI Label's, which only answers any web page.

    ``monailabel start_server`` makes the app while the server starts, when Starlette adds no middleware any more; so
    the list is changed and the stack built anew, which the next request does.

    Raises:
        OtherwiseError: if the file of tokens cannot be used.
    """
    templates = Templates(server.router.routes)
    access = options.access
    origins = [*access.origins, *(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)]
    # The first is the outermost.
    server.user_middleware[:] = [
        Middleware(Requests, templates=templates, metrics=metrics),
        Middleware(Origins, allowed=origins),
        Middleware(Authentication, templates=templates, authenticator=authenticator(access)),
        *([Middleware(Rates, rate=access.rate)] if access.rate else []),
    ]
    server.dependency_overrides[get_current_user] = stock_user
    server.middleware_stack = None
