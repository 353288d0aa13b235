"""Tokens that come with an address or a cookie instead of a header.

``http://host/token/TOKEN/info/`` is ``/info/`` asked with ``Authorization: Bearer TOKEN``, so that a client that takes
an address and nothing else can log in (stock MONAI Label clients). ``?token=TOKEN`` does the same once. A browser is
sent on to the address without the token, with a cookie that scripts cannot read and other sites' pages do not send.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = re.compile(r"(/token/[A-Za-z0-9._~-]{1,4096})(/.*|$)", re.DOTALL)
COOKIE_DAYS = 30


class AddressToken:
    """Middleware: move the token of a request to ``scope["state"]["token"]``, wherever it was sent.

    ``scope["state"]["page_token"]`` is the token of a browser that should be sent on. Nothing is checked here;
    ``lib.access.authentication`` does.

    Args:
        app: The next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without the token in its address."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope, token = without_token(scope)
        page = bool(token) and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        state = scope.setdefault("state", {})
        state["token"] = token or bearer(headers) or cookie_token(scope, headers)
        state["page_token"] = token if page else ""
        await self.app(without_cookies(scope), receive, send)


def without_token(scope: Scope) -> tuple[Scope, str]:
    """Return the scope of a request without the token in its address, and the token (empty: there is none)."""
    found = PREFIX.fullmatch(scope["path"])
    if found:
        # The application is mounted there as far as routing and redirects are concerned (ASGI's root_path).
        path = found[0] if found[2] else f"{found[0]}/"
        return {**scope, "root_path": scope.get("root_path", "") + found[1], "path": path}, found[1][len("/token/") :]
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    token = next((value for key, value in query if key == "token"), "")
    if token:
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        return {**scope, "query_string": rest.encode("latin-1")}, token
    return scope, ""


def bearer(headers: Headers) -> str:
    """Return the token of the header ``Authorization``; empty if there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def cookie_token(scope: Scope, headers: Headers) -> str:
    """Return the token of our cookie; empty if there is none."""
    pairs = (pair.partition("=") for pair in headers.get("cookie", "").split(";"))
    name = cookie_name(scope)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def without_cookies(scope: Scope) -> Scope:
    """Return the scope of a request without its cookies.

    Nothing else reads them, but FastAPI unquotes them all, which takes seconds for a few kilobytes of backslashes
    (CVE-2024-7592).
    """
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"cookie"]}


def cookie_name(scope: Scope) -> str:
    """Name the cookie after the port: browsers send cookies of one host to all its ports."""
    return f"otherwise-{(scope.get('server') or ('', 0))[1] or 0}"


def redirect_with_cookie(scope: Scope, token: str) -> RedirectResponse:
    """Send a browser, whose token was found good, on to the address without the token."""
    root = scope.get("root_path", "")
    path = scope["path"].removeprefix(root) or "/"
    query = scope.get("query_string", b"").decode("latin-1")
    # Never "//host", which a browser takes for another server.
    target = "/" + quote(path.lstrip("/"), safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
    reply = RedirectResponse(target, 303)
    reply.set_cookie(
        cookie_name(scope),
        token,
        max_age=COOKIE_DAYS * 24 * 3600,
        httponly=True,
        samesite="strict",
        secure=scope.get("scheme") == "https",
    )
    reply.headers["Referrer-Policy"] = "no-referrer"
    reply.headers["Cache-Control"] = "no-store"
    return reply
