"""The base of all replies, and replies that are no JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Reply(BaseModel):
    """A reply. Later versions may add fields, so clients have to accept fields that they do not know."""

    model_config = ConfigDict(extra="allow")


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a reply that is a file of one of these types."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": "The file", "content": dict.fromkeys(media_types, schema)}}
