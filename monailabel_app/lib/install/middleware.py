"""The middleware of all routes of the server, MONAI Label's included."""

from __future__ import annotations

from fastapi import FastAPI
from monailabel.config import settings
from starlette.middleware import Middleware

from lib.access.authentication import Authentication, Authenticator
from lib.access.local_secret import LocalSecret
from lib.http.address_token import AddressToken
from lib.http.head_limits import HeadLimits
from lib.http.origins import Origins
from lib.http.rates import RateLimit, RefusalDelay
from lib.http.request_log import RequestLog
from lib.http.templates import RouteTemplates
from lib.observability.metrics import Metrics
from lib.settings.options import Options


def install_middleware(server: FastAPI, options: Options, metrics: Metrics, authenticator: Authenticator) -> None:
    """Replace MONAI Label's middleware, which only allows all web pages, by ours.

    ``monailabel start_server`` makes the app while the server starts, when Starlette adds no middleware any more; so
    the list is changed and the stack built anew, which the next request does.

    Args:
        server: MONAI Label's server.
        options: Settings of the server.
        metrics: Counts requests.
        authenticator: Identifies users.
    """
    templates = RouteTemplates(server.router.routes)
    origins = [*options.origins, *(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)]
    # The first is the outermost. Tokens leave the address before it is examined or logged.
    server.user_middleware[:] = [
        Middleware(HeadLimits),
        Middleware(AddressToken),
        Middleware(RequestLog, templates=templates, metrics=metrics),
        *([Middleware(RefusalDelay)] if options.rate_limit else []),
        Middleware(Origins, allowed=origins),
        Middleware(
            Authentication,
            templates=templates,
            authenticator=authenticator,
            local_only=isinstance(authenticator, LocalSecret),
        ),
        *([Middleware(RateLimit, rate=options.rate_limit)] if options.rate_limit else []),
    ]
    server.middleware_stack = None
