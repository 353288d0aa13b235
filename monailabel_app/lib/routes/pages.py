"""The start page and the description of the HTTP interface, without scripts and without anything from other hosts.

MONAI Label's pages load Swagger UI and ReDoc from other hosts, where they would run with the rights of whoever opens
them here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import cache
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
summary{cursor:pointer;padding:.3rem 0}code{font:14px ui-monospace,monospace}.method{display:inline-block;width:4.5rem;
font-weight:600;color:#0b5cad}table{border-collapse:collapse;margin:.5rem 0 1rem 1rem}td,th{padding:.2rem .8rem .2rem 0;
text-align:left;vertical-align:top}h2{margin-top:2rem;border-bottom:1px solid #ccc}
@media(prefers-color-scheme:dark){body{background:#16181b;color:#e8e8e8}.method{color:#7db8f0}}
"""


def pages_router(describe: Callable[[], dict[str, Any]], route: type[APIRoute]) -> APIRouter:
    """Make the routes ``/``, ``/docs`` and ``/openapi.json``.

    Both texts are made when they are first asked for, since that takes half a second, and once.

    Args:
        describe: Returns the server's OpenAPI description.
        route: Class of the routes.
    """
    router = APIRouter(route_class=route, include_in_schema=False)
    lock = threading.Lock()

    @router.get("/")
    @router.get("/docs")
    def reference() -> HTMLResponse:
        page, _ = texts()
        return HTMLResponse(page, headers=PAGE_HEADERS)

    @router.api_route("/openapi.json", methods=["GET", "HEAD"])
    def openapi() -> Response:
        _, description = texts()
        return Response(description, media_type="application/json")

    def texts() -> tuple[bytes, bytes]:
        with lock:
            return make_texts()

    @cache
    def make_texts() -> tuple[bytes, bytes]:
        description = describe()
        return render_reference(description).encode(), json.dumps(description).encode()

    return router


def render_reference(description: dict[str, Any]) -> str:
    """Return an HTML page that lists all operations of an OpenAPI description, by tag."""
    groups: dict[str, list[str]] = {}
    for path, operations in description.get("paths", {}).items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["Other"])[0]
            groups.setdefault(tag, []).append("".join(_operation(method, path, operation)))
    order = sorted(groups, key=lambda tag: (tag != "Otherwise", tag))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(groups[tag])}" for tag in order)
    schemas = description.get("components", {}).get("schemas", {})
    body += "<h2>Objects</h2>" + "".join("".join(_object(name, schemas[name])) for name in sorted(schemas))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Otherwise: HTTP interface</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        "<h1>Otherwise</h1><p>This server explains answers of an image classifier. Connect with 3D Slicer (module "
        "Otherwise) or any MONAI Label client. Below is its HTTP interface; <code>/openapi.json</code> is the same for "
        f"machines.</p>{body}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<details><summary><span class="method">{escape(method.upper())}</span><code>{escape(path)}</code> '
    yield f"{escape(operation.get('summary', ''))}</summary>"
    if operation.get("description"):
        yield f"<p>{escape(operation['description'])}</p>"
    rows = list(operation.get("parameters", []))
    if rows:
        yield "<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>"
        for row in rows:
            cells = (row["name"], row["in"], _type(row.get("schema", {})), row.get("description", ""))
            yield f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"
        yield "</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: {escape(kind)}, {escape(_type(content.get('schema', {})))}</p>"
    for status, answer in sorted(operation.get("responses", {}).items()):
        kinds = [
            f"{escape(kind)}, {_linked_type(content.get('schema', {}))}"
            for kind, content in answer.get("content", {}).items()
        ]
        yield f"<p>Answer {escape(status)}: {'; '.join(kinds) or escape(answer.get('description', ''))}</p>"
    yield "</details>"


def _object(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield the description of a body or reply: one row for each of its fields."""
    yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> '
    yield f"{escape(schema.get('description', ''))}</summary><table><tr><th>Field</th><th>Type</th><th></th></tr>"
    for field, about in schema.get("properties", {}).items():
        cells = (f"<code>{escape(field)}</code>", _linked_type(about), escape(about.get("description", "")))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></details>"


def _linked_type(schema: dict[str, Any]) -> str:
    """Return the type of a value as HTML; objects are links to their description."""
    if "$ref" in schema:
        name = escape(_type(schema))
        return f'<a href="#{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_linked_type(schema.get('items', {}))}"
    if "anyOf" in schema:
        return " or ".join(_linked_type(each) for each in schema["anyOf"])
    return escape(_type(schema))


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    return str(schema.get("title", "object") if schema.get("type") == "object" else schema.get("type", "any"))
