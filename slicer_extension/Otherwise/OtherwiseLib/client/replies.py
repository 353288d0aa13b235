"""Read the server's replies: JSON, jobs, refusals and files. Nothing is believed before it was checked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from .errors import ServerError, broken

LARGEST_FILE = 4 * 1024**3
"""Bytes of the largest file that is downloaded."""
STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")
"""Of a job."""


def json_of(reply: Any) -> dict:
    """Return the JSON object of a reply.

    Raises:
        ServerError: ``broken`` if it holds none.
    """
    try:
        content = reply.json()
    except ValueError as error:
        raise broken("JSON") from error
    if not isinstance(content, dict):
        raise broken("a JSON object")
    return content


def refusal_of(reply: Any) -> ServerError:
    """Return the error for a reply whose status is not a good one."""
    body = _refusal_body(reply)
    if reply.status_code == 401 or (reply.status_code == 403 and body.get("error", "forbidden") == "forbidden"):
        reason = f"{body.get('detail', '')} {body.get('hint', '')}".strip()
        hint = "Give user and password, a token, or the address that the server printed, with its secret."
        return ServerError("unauthorised", "The server needs a login.", hint, reason=reason)
    if reply.status_code in (429, 503):
        return ServerError(
            "busy", body.get("detail", "The server is busy."), body.get("hint", "Try again in a minute.")
        )
    detail = body.get("detail", f"The server refused ({reply.status_code}).")
    return ServerError("refused", detail, body.get("hint", "The server's log may say why."), reply.status_code)


def checked_job(job: dict) -> dict:
    """Return a job with its fraction within 0 to 1.

    Raises:
        ServerError: ``broken`` if it is no job.
    """
    if not isinstance(job.get("id"), str) or job.get("state") not in STATES:
        raise broken("a job")
    fraction = job.get("fraction")
    job["fraction"] = min(1.0, max(0.0, float(fraction))) if isinstance(fraction, (int, float)) else 0.0
    if job["state"] == "done" and not isinstance(job.get("result"), dict):
        raise broken("a result")
    return job


def save(reply: Any, path: Path) -> Path:
    """Save a streamed reply under a temporary name, and rename it once it is complete.

    Raises:
        ServerError: ``broken`` if it is incomplete or larger than ``LARGEST_FILE``; nothing is left then.
    """
    import requests

    draft = path.with_name(f".{path.name}.part")
    expected = reply.headers.get("Content-Length", "")
    size = 0
    try:
        with draft.open("wb") as file:
            for block in reply.iter_content(1 << 20):
                size += len(block)
                if size > LARGEST_FILE:
                    raise broken("a file of acceptable size")
                file.write(block)
        plain = "Content-Encoding" not in reply.headers
        if plain and expected.isdigit() and int(expected) != size:
            raise broken("a complete file")
        draft.replace(path)
    except requests.exceptions.RequestException as error:
        raise broken("a complete file") from error
    finally:
        reply.close()
        with contextlib.suppress(OSError):
            draft.unlink()
    return path


def _refusal_body(reply: Any) -> dict:
    """Return ``error``, ``detail`` and ``hint`` of a refusal by an Otherwise server; empty for any other server."""
    try:
        content = reply.json()
        body = {name: str(content[name])[:500] for name in ("error", "detail", "hint") if name in content}
    except (ValueError, TypeError):
        return {}
    return {"hint": "", **body} if "detail" in body else {}
