"""Replies of ``/otherwise/explanations``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from lib.routes.replies.base import Reply


class ExplanationReply(Reply):
    """The content of ``explanation.json``; its page in the documentation has the complete schema."""

    id: str
    image: dict[str, Any] = Field(description="Id and SHA-256 of the image")
    classifier: dict[str, Any] = Field(description="Name and version")
    agent: dict[str, Any] = Field(description="Name and version")
    prediction: dict[str, Any] = Field(description="The classifier's answer for the image")
    target: str = Field(description="The answer that the counterfactual aims at")
    counterfactual: dict[str, Any] = Field(description="Whether it is valid, its probabilities, its distances")
    alternatives: list[dict[str, Any]]
    regions: list[dict[str, Any]] = Field(description="Decisive regions, the strongest first")
    files: dict[str, Any] = Field(description="Names of the volumes, for .../files/{name}")


class StoredObjectReply(Reply):
    """A DICOM object that the archive has stored."""

    name: str
    kind: str = Field(description="Name of its SOP class")
    instance: str
    study: str
    series: str
    url: str = Field("", description="Its DICOMweb address, after STOW-RS")
    archive: str = Field("", description="The archive, AET@HOST:PORT, after C-STORE")


class RefusedObjectReply(Reply):
    """A DICOM object that the archive has refused."""

    name: str
    kind: str
    instance: str
    reason: str


class StoreReply(Reply):
    """The result of storing an explanation in the archive; 202 if some objects were refused."""

    stored: list[StoredObjectReply]
    failed: list[RefusedObjectReply]
