"""Replies of ``/otherwise/about``, ``/otherwise/studies`` and ``/otherwise/health``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lib.routes.replies.base import Reply


class ClassifierReply(Reply):
    """The hosted classifier."""

    name: str
    version: str = Field(description="Hash of its content")
    classes: list[str]
    multi_label: bool
    value: dict[str, Any] | None = Field(
        default=None, description="Of a model that says a value: kind, name, unit, range, tolerance, categories"
    )
    inputs: dict[str, Any] = Field(description="Its input contract: size, spacing, intensity window and more")


class AgentReply(Reply):
    """The agent that searches counterfactuals."""

    name: str
    version: str = Field(description="Hash of its content")
    classifier: str = Field(description="Name of the classifier that taught it")


class MethodReply(Reply):
    """An attribution method that can be asked for."""

    name: str
    title: str
    source: str = Field(description="Publication or library")


class DeviceReply(Reply):
    """A device on which models run."""

    name: str = Field(description="cpu or cuda:N")
    title: str


class LimitsReply(Reply):
    """Limits of requests and jobs."""

    upload_bytes: int
    waiting: int = Field(description="Jobs that may wait")
    waiting_per_user: int
    deadline_seconds: float
    upload_endings: list[str] = Field(description="Endings of files that are read as images")
    targets: list[str] = Field(description="Classes that an explanation can aim at, and auto")


class CallerReply(Reply):
    """The user who asks."""

    user: str = Field(description="Empty where nobody logs in")
    role: str = Field(description="reader, annotator or admin")


class AboutReply(Reply):
    """Versions, models and limits of this server."""

    versions: dict[str, str] = Field(description="Package to version")
    classifiers: list[ClassifierReply]
    agents: list[AgentReply]
    methods: list[MethodReply]
    devices: list[DeviceReply]
    limits: LimitsReply
    caller: CallerReply


class StudyImageReply(Reply):
    """An image of a study."""

    id: str
    modality: str = Field(description="DICOM modality, or empty")
    view: str = Field(description="View of a mammogram or radiograph, or empty")
    frames: int | None = Field(description="Slices or frames, where the header says so")


class StudyReply(Reply):
    """Images of one examination."""

    id: str
    images: list[StudyImageReply]


class StudiesReply(Reply):
    """All studies."""

    studies: list[StudyReply]


class HealthReply(Reply):
    """A summary for people."""

    status: str = Field(description="ok or closing")
    running: int = Field(description="Jobs that run")
    waiting: int = Field(description="Jobs that wait")


class LiveReply(Reply):
    """Whether the process has to be restarted."""

    status: str = Field(description="live, or the reason for a restart")


class ReadyReply(Reply):
    """Whether the server can work."""

    status: str = Field(description="ready or not ready")
    reasons: list[str]
