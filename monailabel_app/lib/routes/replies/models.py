"""Replies of ``/otherwise/models``."""

from __future__ import annotations

from pydantic import Field

from lib.routes.replies.base import Reply


class ModelReply(Reply):
    """A classifier or an agent."""

    name: str
    version: str = Field(description="Hash of its content")
    trained_here: bool = Field(description="Whether this server trained it")


class PairReply(Reply):
    """A classifier with its agent: one version of the models."""

    id: str
    created: str = Field(description="ISO 8601 time")
    classifier: ModelReply
    agent: ModelReply
    parent: str = Field(description="Version that its training started from, or empty")
    images: int | None = Field(description="Images that it was trained on")
    before: dict[str, float | None] | None = Field(description="Figures of the parent on held-out images")
    after: dict[str, float | None] | None = Field(description="Figures of this version on the same images")
    note: str
    in_use: bool


class ModelsReply(Reply):
    """Versions of the models, the oldest first, and the choice among them."""

    active: str = Field(description="Id of the chosen version")
    reason: str = Field(description="The reason for the choice")
    problem: str = Field(description="The reason why the chosen version is not in use, or empty")
    versions: list[PairReply]
