"""The base of all replies, the form of errors, and replies that are no JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Reply(BaseModel):
    """A reply. Later versions may add fields, so clients have to accept fields that they do not know."""

    model_config = ConfigDict(extra="allow")


class ErrorReply(Reply):
    """The error reply of every route."""

    error: str = Field(description="Kind of the error, for programs")
    detail: str = Field(description="What is wrong, one line")
    hint: str = Field(description="What to do about it")


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorReply, "description": "The request is refused"},
    "5XX": {"model": ErrorReply, "description": "The server cannot answer"},
}
"""Error responses of every route, for OpenAPI."""


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a reply that is a file of one of these types."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": "The file", "content": dict.fromkeys(media_types, schema)}}
