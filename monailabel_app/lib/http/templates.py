"""The template (``/otherwise/jobs/{id}``) of the route that answers a request, for roles, logs and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path  # of no public name; with another rule than the router's, roles would leak
from starlette.routing import BaseRoute
from starlette.types import Scope

FOUND = "otherwise.template"
"""Key of a request's scope."""


@dataclass(frozen=True)
class Template:
    """One route.

    Attributes:
        path: With its parameters in braces.
        methods: What it answers to; empty: to all.
        pattern: Matches its paths.
    """

    path: str
    methods: frozenset[str]
    pattern: re.Pattern[str]


class RouteTemplates:
    """The templates of all routes of a server, in their order.

    Args:
        routes: Those of the server's router.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._all = [
            Template(context.path or "/", frozenset(context.methods or ()), context.path_regex)
            for context in iter_route_contexts(routes)
        ]

    def __iter__(self) -> Iterator[Template]:
        return iter(self._all)

    def of(self, scope: Scope) -> str | None:
        """Return the template of the route that answers, as the router chooses it; None: there is none.

        It is found once for each request, and kept in its ``scope``.
        """
        if FOUND not in scope:
            scope[FOUND] = self._find(scope)
        template: str | None = scope[FOUND]
        return template

    def _find(self, scope: Scope) -> str | None:
        path = get_route_path(scope)
        for route in self._all:
            if (not route.methods or scope["method"] in route.methods) and route.pattern.match(path):
                return route.path
        return None
