"""Replies of ``/otherwise/jobs``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lib.routes.replies.base import ErrorReply, Reply


class JobReply(Reply):
    """A job as its client sees it."""

    id: str
    user: str = Field(description="The user who asked")
    kind: str
    image: str = Field(description="Id of the image")
    created: str = Field(description="ISO 8601 time")
    state: str = Field(description="queued, running, done, failed, cancelled or interrupted")
    stage: str = Field(description="What is done at the moment")
    fraction: float = Field(description="Share of the work that is done, from 0 to 1")
    seconds_left: float | None = Field(description="An estimate; null while it is too early")
    cached: bool = Field(description="Whether a known explanation was the answer")
    error: ErrorReply | None = Field(description="The reason if it failed or was interrupted")
    result: dict[str, Any] | None = Field(
        description="The answer once it is done; of an explanation its explanation.json"
    )


EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: the job, whenever it changes",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "event": {"type": "string", "description": "State of the job"},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": "#/components/schemas/JobReply"},
                        },
                    },
                    "required": ["event", "data"],
                }
            }
        },
    }
}
"""Description of a stream of events, in the form of OpenAPI 3.2 that FastAPI uses for its own streams."""
