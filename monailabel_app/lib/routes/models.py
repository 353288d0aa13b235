"""``/otherwise/models``: which versions there are, and which is in use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from monailabel.config import RBAC_ADMIN, RBAC_USER, settings
from monailabel.endpoints.user.auth import RBAC
from pydantic import BaseModel, ConfigDict, Field

from lib.runtime.model_switcher import ModelSwitcher


class ChoiceBody(BaseModel):
    """Why this version."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=500)


def models_router(switching: ModelSwitcher, route: type[APIRoute]) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/otherwise/models", tags=["Otherwise"], route_class=route)
    administrator = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))

    @router.get(
        "",
        summary=f"{RBAC_USER}Versions of the models, the oldest first",
        dependencies=[Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))],
    )
    def models() -> dict[str, Any]:
        return switching.describe()

    @router.post("/{id}/activate", summary=f"{RBAC_ADMIN}Use this version from now on", dependencies=[administrator])
    async def activate(id: str, body: ChoiceBody | None = None) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            switching.registry.activate(id, body.reason if body else "")
            switching.look()
            return switching.describe()

        return await run_in_threadpool(change)

    @router.post("/rollback", summary=f"{RBAC_ADMIN}Use what was in use before", dependencies=[administrator])
    async def rollback(body: ChoiceBody | None = None) -> dict[str, Any]:
        def change() -> dict[str, Any]:
            switching.registry.roll_back(body.reason if body and body.reason else "Rolled back.")
            switching.look()
            return switching.describe()

        return await run_in_threadpool(change)

    return router
