"""Replies of MONAI Label without paths of this machine, and without tracebacks."""

from __future__ import annotations

import re
from typing import Any

_PATH = re.compile(r"(?<![\w:/.])/(?:[^\s/'\",;:]+/)+([^\s/'\",;:]*)")
"""An absolute path of two parts and more, in the midst of a text; addresses of the web begin with another character."""
_TRACEBACK = "Traceback (most recent call last):"


def without_paths(value: Any) -> Any:
    """Return the JSON with only the last part of each path, without keys ``path`` and without lines of tracebacks."""
    if isinstance(value, dict):
        return {key: without_paths(each) for key, each in value.items() if key != "path"}
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple) or type(value).__name__ == "deque":
        return [without_paths(each) for each in _without_tracebacks(list(value))]
    return value


def _text(text: str) -> str:
    if text.startswith("/") and "\n" not in text:  # a path may hold spaces
        return text.rstrip("/").rpartition("/")[2]
    return _PATH.sub(r"\1", text)


def _without_tracebacks(lines: list[Any]) -> list[Any]:
    kept, inside = [], False
    for line in lines:
        if isinstance(line, str):
            inside = line.startswith(_TRACEBACK) or (inside and (line.startswith(" ") or not line))
            if inside or line.lstrip().startswith('File "'):
                continue
        kept.append(line)
    return kept
