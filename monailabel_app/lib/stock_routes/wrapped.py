"""Wrappers of MONAI Label's routes: arguments are checked, work leaves the event loop, replies hold no paths.

MONAI Label's functions are called unchanged.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import requests
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.params import Depends as Dependency
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import activelearning, batch_infer, datastore, info, login, scoring, session, train
from monailabel.endpoints.user.auth import RBAC, get_current_user
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException
from starlette.background import BackgroundTask

from lib.access.authentication import current_user
from lib.http.caller import user_of
from lib.http.errors import UnauthorizedError
from lib.http.work_threads import WorkThreads
from lib.stock_routes.redaction import without_paths
from lib.stock_routes.rule import Rule
from lib.stock_routes.rules import RULES
from lib.storage.explanation_store import NotFoundError
from otherwise.errors import OtherwiseError

logger = logging.getLogger(__name__)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
CLOSED = {
    "/model/{rest:path}": ("Models are not sent or taken here.", "otherwise classifier import, POST /train/agent."),
    "/proxy/{rest:path}": ("This server fetches nothing for others.", "Ask the archive itself."),
    "/ohif/{rest:path}": ("OHIF is not offered here.", "Use 3D Slicer."),
    "/logs/{rest:path}": ("The log is not sent.", "It is on the server's machine; see /otherwise/metrics."),
    "/reload": ("The server is not made anew by request.", "POST /otherwise/models/{id}/activate changes models."),
}
"""Addresses of MONAI Label that are not offered, with why and what there is instead."""


FILES = ("/datastore/dataset", "/activelearning/{strategy}", "/session/", "/datastore/image")
"""Addresses whose answers wait for an archive or for large files."""
BATCH = "/batch/infer/{model}"
"""Address whose answer may wait for the worker, once for each image of the studies."""
REFUSED_LOGIN = "invalid_grant"
"""Error with which a realm refuses a name or password (RFC 6749, section 5.2); the status differs between realms."""
REQUEST = "otherwise_request"
"""Name of the argument that holds the request."""


class ClosedError(OtherwiseError):
    """A route of MONAI Label that this server does not offer."""

    code = "closed"
    status = 403


class UpstreamError(OtherwiseError):
    """Another server that this one depends on fails."""

    code = "upstream"
    status = 502


def stock_routes() -> list[APIRoute]:
    """Return the routes of MONAI Label that are offered, as MONAI Label made them."""
    modules = [info, batch_infer, train, activelearning, scoring, datastore, session]
    if settings.MONAI_LABEL_AUTH_ENABLE:
        modules.append(login)
    return [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)]


def guarded_router(app: MONAILabelApp, route: type[APIRoute]) -> APIRouter:
    """Make MONAI Label's routes anew.

    Args:
        app: The app that answers.
        route: Class of the routes.
    """
    router = APIRouter(route_class=route)
    # Requests that wait for different things have separate threads, so that none waits for the others.
    threads = {
        **dict.fromkeys(FILES, WorkThreads("otherwise-files", threads=4, per_user=4)),
        BATCH: WorkThreads("otherwise-batches", threads=2, per_user=2),
        # Clients ask for /info/ first, and to learn whether the server answers at all.
        "/info/": WorkThreads("otherwise-info", threads=2, per_user=64),
        # The log-in waits for the realm, and is open to strangers.
        "/auth/token": WorkThreads("otherwise-login", threads=4, per_user=4),
    }
    for stock in stock_routes():
        method = min(stock.methods or {"GET"})  # MONAI Label makes one route a method
        rule = RULES.get(f"{method} {stock.path}")
        if rule is None:
            logger.warning("%s %s of MONAI Label is not offered: nothing is known of it.", method, stock.path)
            continue
        router.add_api_route(
            stock.path,
            _guarded(app, stock.endpoint, rule, threads.get(stock.path)),
            methods=[method],
            tags=stock.tags,
            summary=stock.summary,
            response_model=stock.response_model,
            include_in_schema=stock.include_in_schema,
            deprecated=stock.deprecated,
        )
    return router


def closed_router(route: type[APIRoute]) -> APIRouter:
    """Make the routes that say why something of MONAI Label is not offered."""
    router = APIRouter(route_class=route)
    for address, (detail, hint) in CLOSED.items():

        def refuse(request: Request, detail: str = detail, hint: str = hint) -> None:
            raise ClosedError(detail, hint)

        refuse.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)]
        )
        router.add_api_route(address, refuse, methods=METHODS, include_in_schema=False)
    return router


def _guarded(
    app: MONAILabelApp, endpoint: Callable[..., Coroutine[Any, Any, Any]], rule: Rule, threads: WorkThreads | None
) -> Callable[..., Awaitable[Any]]:
    def answer(arguments: dict[str, Any]) -> Any:
        rule(app, arguments)
        try:
            return _cleaned(_finish(endpoint(**arguments)))
        except (ImageNotFoundException, LabelNotFoundException) as error:
            raise NotFoundError(
                "The studies hold no such image or label.", "Ask GET /datastore/?output=all."
            ) from error
        except psutil.NoSuchProcess as error:
            raise NotFoundError("It has ended already.", "Look at its status.") from error
        except requests.HTTPError as error:
            if endpoint is login.access_token and _error_of(error.response) == REFUSED_LOGIN:
                raise UnauthorizedError("The realm refuses this log-in.", "Check name and password.") from error
            raise UpstreamError("Another server refused.", "Check what you sent, such as the password.") from error
        except requests.RequestException as error:
            raise UpstreamError("Another server cannot be reached.", "Try again later.") from error
        except HTTPException as error:
            if error.status_code >= 500:  # its detail is for the log
                raise RuntimeError(str(error.detail)) from error
            raise

    @functools.wraps(endpoint)
    async def guarded(**arguments: Any) -> Any:
        request = arguments.pop(REQUEST)
        if threads is not None:
            return await threads.run(lambda: answer(arguments), user_of(request))
        return await run_in_threadpool(answer, arguments)

    guarded.__signature__ = _signature(endpoint)  # type: ignore[attr-defined]
    return guarded


def _error_of(reply: requests.Response) -> str:
    """Return the error that a realm names; empty where it names none."""
    try:
        content = reply.json()
    except ValueError:
        return ""
    return str(content.get("error", "")) if isinstance(content, dict) else ""


def _signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of one of MONAI Label's endpoints, with our dependency for the user and with the request.

    FastAPI's ``dependency_overrides`` would do the same, but resolves every dependency anew at each request, which
    takes several milliseconds of the event loop.
    """
    signature = inspect.signature(endpoint)
    parameters = [
        each.replace(default=Depends(current_user)) if _asks_for_user(each.default) else each
        for each in signature.parameters.values()
    ]
    request = inspect.Parameter(REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    return signature.replace(parameters=[*parameters, request])


def _asks_for_user(default: object) -> bool:
    return isinstance(default, Dependency) and (
        isinstance(default.dependency, RBAC) or default.dependency is get_current_user
    )


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run one of MONAI Label's endpoints here and now: they are coroutines by name, and wait for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("An endpoint of MONAI Label waits for the event loop.")


def _cleaned(answer: Any) -> Any:
    if isinstance(answer, FileResponse) and answer.filename == "dataset.zip":
        answer.background = BackgroundTask(Path(answer.path).unlink, missing_ok=True)  # it is nobody's otherwise
    return answer if isinstance(answer, Response) else without_paths(answer)
