"""``/otherwise/about``: versions, models and limits."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from monailabel.config import RBAC_USER

from lib.routes.replies.about import AboutReply
from lib.runtime.host import Host
from lib.settings.options import MIB, Options
from lib.settings.params import AUTO
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import READABLE
from otherwise import __version__
from otherwise.attribution.methods import offered
from otherwise.blackbox.output_kind import OutputKind, output_kind

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def about_router(host: Host, options: Options, route: type[APIRoute]) -> APIRouter:
    """Make the route ``/otherwise/about``."""
    router = APIRouter(prefix="/otherwise", tags=["Otherwise"], route_class=route)

    @router.get(
        "/about",
        summary=f"{RBAC_USER}Versions, classifiers, agents, devices and limits",
        response_model=AboutReply,
        response_model_exclude_unset=True,
    )
    async def about(request: Request) -> dict[str, Any]:
        caller = {"user": request.state.user, "role": request.state.role.name.lower()}
        return {**describe(host, options), "caller": caller}

    return router


def unknown_router(route: type[APIRoute]) -> APIRouter:
    """Make the route that answers for every other address below ``/otherwise``; it has to come last."""
    router = APIRouter(prefix="/otherwise", route_class=route)

    @router.api_route("/{rest:path}", methods=METHODS, include_in_schema=False)
    async def unknown(rest: str) -> None:
        raise NotFoundError(f"There is no /otherwise/{rest[:128]}.", "See /docs for what there is.")

    return router


@cache
def installed_version(package: str) -> str:
    """Return the version of an installed package; it is looked up on the disk once."""
    return version(package)


def _value(kind: OutputKind) -> dict[str, Any]:
    """Return the declaration of a model of values; a target is then a text, see ``question.ask``."""
    return {
        "kind": kind.kind,
        "name": kind.name,
        "unit": kind.unit,
        "range": list(kind.range) if kind.range else None,
        "tolerance": kind.tolerance,
        "categories": dict(kind.categories),
    }


def describe(host: Host, options: Options) -> dict[str, Any]:
    """Return versions, models and limits as JSON."""
    import torch

    classifier = host.classifier
    output = output_kind(classifier)
    return {
        "versions": {
            "otherwise": __version__,
            **{name: installed_version(name) for name in ("monailabel", "monai", "torch")},
        },
        "classifiers": [
            {
                **asdict(host.classifier_ref),
                "classes": list(classifier.classes),
                "multi_label": classifier.multi_label,
                **({"value": _value(output)} if output.is_value else {}),
                "inputs": {**asdict(classifier.inputs), "spatial_dims": classifier.inputs.spatial_dims},
            }
        ],
        "agents": [{**asdict(host.agent_ref), "classifier": host.classifier.name}],
        "methods": [
            {"name": method.name, "title": method.title, "source": method.source} for method in offered(classifier)
        ],
        "devices": [
            {"name": host.device, "title": torch.cuda.get_device_name(host.device) if "cuda" in host.device else "CPU"}
        ],
        "limits": {
            "upload_bytes": options.upload_mib * MIB,
            "waiting": host.worker.limit,
            "waiting_per_user": host.worker.limit_per_user,
            "deadline_seconds": options.deadline_seconds,
            "upload_endings": list(READABLE),
            "targets": [AUTO, *([name for name, _ in output.categories] if output.is_value else classifier.classes)],
        },
    }
