"""Limits of JSON that the server stores and sends back."""

from __future__ import annotations

import json
import math
from typing import Any

from lib.settings.params import MOST_VALUES, MalformedError, ParamsError, refuse_many_values, separators

MOST_DEPTH = 32
MOST_DIGITS = 64
"""Bits of a whole number; larger ones fit into no other program's integers."""


def parse_object(name: str, text: str) -> dict[str, Any]:
    """Read a form field that has to be a JSON object.

    Args:
        name: Of the field.
        text: Its content; empty counts as ``{}``.

    Raises:
        TooLargeError: if it would take long to parse.
        MalformedError: if it is no JSON.
        ParamsError: if it is JSON, but no object, or one that ``check_content`` refuses.
    """
    refuse_many_values(separators(text))
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise MalformedError(f"The field {name} is not valid JSON.", 'Send an object such as {"a": 1}.') from None
    if not isinstance(content, dict):
        raise ParamsError(f"The field {name} is JSON, but no object.", 'Send an object such as {"a": 1}.')
    check_content(content)
    return content


def check_content(value: Any) -> None:
    """Refuse values that are no valid JSON although Python reads them, and values beyond the limits.

    Every later reply that holds a stored NaN or half of a surrogate pair would fail.

    Raises:
        ParamsError: if a number is not finite or has more than 64 bits, a text is no Unicode, objects lie more than 32
            deep in each other, or there are more than 20,000 values.
    """
    level, seen = [value], 0
    for _ in range(MOST_DEPTH):
        for each in level:
            _check_leaf(each)
        level = [inner for each in level for inner in _inside(each)]
        seen += len(level)
        if seen > MOST_VALUES:
            raise ParamsError(f"The request holds more than {MOST_VALUES} values.", "Send less.")
        if not level:
            return
    raise ParamsError(f"The request is nested deeper than {MOST_DEPTH}.", "Send simpler JSON.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_leaf(value: Any) -> None:
    if isinstance(value, str):
        if not is_unicode(value):
            raise ParamsError("A text in the request is no Unicode.", "Correct its escapes.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ParamsError("A number in the request is not finite.", "JSON knows neither NaN nor Infinity.")
    elif isinstance(value, int) and value.bit_length() > MOST_DIGITS:
        raise ParamsError("A number in the request is too large.", "Send at most 64 bits.")


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded; halves of surrogate pairs, which JSON can escape, cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
