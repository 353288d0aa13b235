"""The id, the line in the log and the metrics of each request."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.http.errors import reply_to
from lib.http.templates import RouteTemplates
from lib.observability.logs import REQUEST
from lib.observability.metrics import Metrics

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PROBES = ("/otherwise/health", "/otherwise/health/live", "/otherwise/health/ready", "/otherwise/metrics")
"""Requested every few seconds by machines; only their failures are logged."""
REFUSED = (401, 403, 429)
"""Status of refusals, whose lines hold the address of the client so that attacks can be stopped."""
HUNG_UP = 499
"""Status in log and metrics of a request whose client disconnected before the answer."""


class RequestLog:
    """Middleware that logs and counts requests.

    It logs the template of the route only: paths and queries name images, which are often named after patients.

    Args:
        app: The next application.
        templates: The server's routes.
        metrics: Counts requests.
    """

    def __init__(self, app: ASGIApp, templates: RouteTemplates, metrics: Metrics) -> None:
        self.app = app
        self.templates = templates
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its outcome."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        id, begun, status = uuid.uuid4().hex, time.perf_counter(), 0
        route = self.templates.of(scope) or "-"  # routing changes the scope
        state = scope.setdefault("state", {})
        state["request_id"] = id

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = id
            await send(message)

        token = REQUEST.set(id)
        try:
            await self.app(scope, receive, tell)
        except Exception as error:
            if status:  # a part of the answer has been sent, so the connection has to be closed
                raise
            await reply_to(error)(scope, receive, tell)
        finally:
            seconds = time.perf_counter() - begun
            client = (scope.get("client") or ("",))[0] if status in REFUSED else ""
            self._note(scope["method"], route, status or HUNG_UP, seconds, state.get("user", ""), client)
            REQUEST.reset(token)

    def _note(self, method: str, route: str, status: int, seconds: float, user: str, client: str) -> None:
        method = method if method in METHODS else "other"
        self.metrics.request(method, route, status, seconds)
        fields: dict[str, Any] = {
            "user": user,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        if client:
            fields["client"] = client
        level = logging.DEBUG if route in PROBES and status == 200 else logging.INFO
        who = f" by {user}" if user else ""
        who += f" from {client}" if client else ""
        logger.log(level, "%s %s %d %.1f ms%s", method, route, status, 1000 * seconds, who, extra={"fields": fields})
