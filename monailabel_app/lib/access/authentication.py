"""Authentication: each request has to bring a token whose holder has the role that the route requires.

The middleware stands before MONAI Label's own routes as well as ours. It is plain ASGI, so that streams pass.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER, User
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.access.roles import role_for
from lib.http.address_token import redirect_with_cookie
from lib.http.errors import HINTS, ForbiddenError, UnauthorizedError, reply_to
from lib.http.templates import RouteTemplates
from lib.storage.owners import CALLER, Caller
from otherwise.errors import OtherwiseError
from otherwise.tokens import Role, TokenFile

PROXIED = ("forwarded", "x-forwarded-for")
"""Headers that a proxy adds."""


class Authenticator(Protocol):
    """Identifies users by their tokens."""

    def check(self) -> None:
        """Do nothing if users can log in, as far as that can be checked at once.

        Raises:
            OtherwiseError: if nobody can log in.
        """
        ...

    async def identify(self, token: str) -> Caller | None:
        """Return the holder of a token; None if there is none.

        Raises:
            OtherwiseError: if the holder cannot be looked up at the moment.
        """
        ...


class Tokens:
    """Identifies users by a file of tokens.

    Args:
        file: The file.
    """

    def __init__(self, file: TokenFile) -> None:
        self.file = file

    def check(self) -> None:
        """Read the file.

        Raises:
            TokensError: if it cannot be used.
        """
        self.file.holder("")

    async def identify(self, token: str) -> Caller | None:
        """Return the holder of a token by the present content of the file."""
        holder = self.file.holder(token)
        return Caller(holder.name, holder.role) if holder else None


class Authentication:
    """Middleware that lets each request in or refuses it.

    It sets ``request.state.user`` and ``request.state.role``, and ``lib.storage.owners.CALLER``.

    Args:
        app: The next application.
        templates: The server's routes.
        authenticator: Identifies users by their tokens.
        local_only: Whether requests have to come from this machine, besides their token.
    """

    def __init__(
        self, app: ASGIApp, templates: RouteTemplates, authenticator: Authenticator, local_only: bool = False
    ) -> None:
        self.app = app
        self.templates = templates
        self.authenticator = authenticator
        self.local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, answer it with 401 or 403, or send a browser on to the address without its token."""
        if scope["type"] == "websocket":  # no route speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                caller = await self._admitted(scope)
            except OtherwiseError as error:
                await reply_to(error)(scope, receive, send)
                return
            state = scope.setdefault("state", {})
            state.update(user=caller.user, role=caller.role)
            CALLER.set(caller)
            if state.get("page_token"):
                await redirect_with_cookie(scope, state["page_token"])(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _admitted(self, scope: Scope) -> Caller:
        needed = role_for(scope["method"], self.templates.of(scope))
        if needed is None:
            scope.setdefault("state", {})["page_token"] = ""
            return Caller("", Role.READER)
        if self.local_only:
            refuse_strangers(scope, Headers(scope=scope))
        token = scope.get("state", {}).get("token", "")
        caller = await self.authenticator.identify(token) if token else None
        if caller is None:
            raise UnauthorizedError(
                "This server answers to its users only.",
                "Use the address that the server printed, which holds a secret." if self.local_only else HINTS[401],
            )
        if caller.role < needed:
            raise ForbiddenError(f"This takes the role {needed.name.lower()}.", HINTS[403])
        return caller


def refuse_strangers(scope: Scope, headers: Headers) -> None:
    """Refuse requests from other machines, however the server was started.

    ``monailabel start_server`` listens on all interfaces by default, and the app is not told so. Each request holds the
    address of this machine at which it arrived.

    A web page whose name was made to resolve to this machine (DNS rebinding) is recognised by that name, which its
    browser sends.

    Raises:
        ForbiddenError: if the request arrived at another address than loopback, through a proxy, or under the name of
            another machine.

    A proxy that rewrites the host and adds nothing passes here; it does not know the secret
    (``lib.access.local_secret``).
    """
    named = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    here = is_loopback((scope.get("server") or ("",))[0]) and (named == "localhost" or _is_local(named))
    if not here or any(name in headers for name in PROXIED):
        raise ForbiddenError(
            "This server has no tokens, and answers to its own machine only.",
            "Its administrator can start it with a file of tokens (otherwise tokens add).",
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address of this machine; true for a socket in its file system."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


async def current_user(request: Request) -> User:
    """Return who makes a request, in MONAI Label's form: the dependency of routes that need to know.

    It takes the place of MONAI Label's ``RBAC``. What a role may do is decided before any route (``lib.access.roles``).
    """
    user, role = request.state.user, request.state.role
    if not user and role == Role.ADMIN:
        return DEFAULT_USER
    roles = {
        Role.READER: settings.MONAI_LABEL_AUTH_ROLE_USER,
        Role.ANNOTATOR: settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
        Role.ADMIN: settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
    }
    return User(username=user, roles=[name for each, name in roles.items() if each <= role])
