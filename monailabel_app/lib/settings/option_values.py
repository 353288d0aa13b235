"""Parsers of settings that are more than a number or a word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otherwise.errors import OtherwiseError
from otherwise.report.dicom.c_store import Node

ORIGIN = re.compile(r"https?://[^/\s,*]+")
ATTRIBUTE = re.compile(r"[A-Za-z]+|[0-9A-Fa-f]{8}")
"""A DICOM attribute by keyword or by tag."""


class OptionError(OtherwiseError):
    """The server was started with a setting that it does not understand."""

    code = "option"


def split(value: Any) -> Any:
    """Return the names of a list that is separated by commas; anything but text as it is."""
    return tuple(name for name in value.split(",") if name) if isinstance(value, str) else value


def absolute(path: Path | None) -> Path | None:
    """Return a path that does not depend on the working directory or on ``~``."""
    return path.expanduser().absolute() if path else None


def parse_origin(text: str) -> str:
    """Return the origin of web pages in lower case.

    Raises:
        ValueError: if it is none.
    """
    origin = text.strip().rstrip("/").lower()
    if not ORIGIN.fullmatch(origin):
        raise ValueError("an origin is scheme and host, as https://viewer.example:8443")
    return origin


def parse_search(value: Any) -> Any:
    """Return ``{attribute: value}`` of ``Attribute=value,...``; anything but text as it is.

    Raises:
        ValueError: if it is no such list.
    """
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    if not all(ATTRIBUTE.fullmatch(name) and wanted for name, _, wanted in pairs):
        raise ValueError("a search is Modality=MG,StudyDate=20260101- or the like")
    found: Mapping[str, str] = {name: wanted for name, _, wanted in pairs}
    return found


def parse_node(value: Any) -> Any:
    """Return the DICOM node of ``AET@HOST:PORT``; anything but text as it is.

    Raises:
        NodeError: if it is malformed.
    """
    return Node.parse(value) if isinstance(value, str) else value
