"""``/otherwise/health`` and ``/otherwise/metrics``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST

from lib.observability.health import Health
from lib.observability.metrics import Metrics
from lib.routes.replies.about import HealthReply, LiveReply, ReadyReply
from lib.routes.replies.base import binary
from lib.runtime.host import Host


def observability_router(host: Host, health: Health, metrics: Metrics, route: type[APIRoute]) -> APIRouter:
    """Make the routes.

    Args:
        host: The worker.
        health: What the server needs to work.
        metrics: What was counted.
        route: Class of the routes.
    """
    router = APIRouter(prefix="/otherwise", tags=["Otherwise"], route_class=route)

    # Open to everybody, as probes have no token; the reply holds nothing about images or people.
    @router.get(
        "/health",
        summary="Whether the server takes work",
        response_model=HealthReply,
        response_model_exclude_unset=True,
    )
    async def summary() -> dict[str, Any]:
        state = "ok" if host.worker.alive else "closing"
        return {"status": state, "running": int(host.worker.running), "waiting": host.worker.waiting}

    @router.get(
        "/health/live",
        summary="Whether the server lives; if not, start it anew",
        response_model=LiveReply,
        responses={503: {"model": LiveReply}},
    )
    async def live() -> Response:
        # Only a new process reaches a GPU again that has failed.
        failed = host.device_failed
        return JSONResponse({"status": "GPU failed" if failed else "live"}, 503 if failed else 200)

    @router.get(
        "/health/ready",
        summary="Whether the server can work; if not, 503 and the reasons",
        response_model=ReadyReply,
        responses={503: {"model": ReadyReply}},
    )
    async def ready() -> Response:
        reasons = await health.reasons()
        content = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return JSONResponse(content, 503 if reasons else 200)

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses=binary("text/plain"))
    def figures() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
