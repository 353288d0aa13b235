"""``/otherwise/models``: versions of the models, and the one in use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from monailabel.config import RBAC_ADMIN, RBAC_USER
from pydantic import BaseModel, ConfigDict, Field

from lib.http.caller import user_of
from lib.http.work_threads import WorkThreads
from lib.routes.replies.models import ModelsReply
from lib.runtime.model_switcher import ModelSwitcher


class ChoiceBody(BaseModel):
    """The reason for the choice of a version."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500)


def models_router(switcher: ModelSwitcher, threads: WorkThreads, route: type[APIRoute]) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/otherwise/models", tags=["Otherwise"], route_class=route)

    @router.get(
        "",
        summary=f"{RBAC_USER}Versions of the models, the oldest first",
        response_model=ModelsReply,
        response_model_exclude_unset=True,
    )
    def models() -> dict[str, Any]:
        return switcher.describe()

    @router.post(
        "/{id}/activate",
        summary=f"{RBAC_ADMIN}Use this version from now on",
        response_model=ModelsReply,
        response_model_exclude_unset=True,
    )
    async def activate(id: str, request: Request, body: ChoiceBody | None = None) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            switcher.registry.activate(id, body.reason if body else "")
            switcher.look()
            return switcher.describe()

        return await threads.run(change, user_of(request))

    @router.post(
        "/rollback",
        summary=f"{RBAC_ADMIN}Use what was in use before",
        response_model=ModelsReply,
        response_model_exclude_unset=True,
    )
    async def rollback(request: Request, body: ChoiceBody | None = None) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            switcher.registry.roll_back(body.reason if body and body.reason else "Rolled back.")
            switcher.look()
            return switcher.describe()

        return await threads.run(change, user_of(request))

    return router
