"""The ``params`` of a request: a JSON object of options, in which unknown keys are refused.

MONAI Label lets them override ``image``, ``model`` and ``device`` of the request, so they are checked first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otherwise.errors import OtherwiseError

Params = Mapping[str, Any]

AUTO = "auto"
"""The value of an option that is left to the server: stock clients send every option of ``/info`` back."""

STOCK = frozenset({"client_id", "result_extension", "result_dtype", "result_compress", "restore_label_idx"})
"""Keys that the stock clients (Slicer, OHIF) add."""


MOST_VALUES = 20_000
"""Separators in JSON that a client sends; a polygon has four for each point.

Python parses JSON, and describes what is wrong with it, in one piece during which nobody else is answered. A million
keys take seconds; a mask of as many bytes, which is one text, takes no time.
"""
_SEPARATORS = ",[{"

MOST_LISTED = 8
"""Unknown names that a message lists."""
MAX_SLICES = 100_000
MAX_SEED = 2**31 - 1


class MalformedError(OtherwiseError):
    """The request cannot be read."""

    code = "malformed"
    status = 400


class ParamsError(OtherwiseError):
    """The request can be read, but asks for something that does not exist."""

    code = "params"
    status = 422


class TooLargeError(OtherwiseError):
    """The request is larger than the server takes."""

    code = "too-large"
    status = 413


def separators(content: bytes | str) -> int:
    """Count what separates values in JSON, before it is parsed."""
    if isinstance(content, str):
        return sum(content.count(separator) for separator in _SEPARATORS)
    return sum(content.count(separator.encode()) for separator in _SEPARATORS)


def refuse_many_values(count: int) -> None:
    """Refuse JSON that would take long to parse.

    Args:
        count: Its ``separators``.

    Raises:
        TooLargeError: if there are more than ``MOST_VALUES``.
    """
    if count > MOST_VALUES:
        raise TooLargeError(f"The request holds more than {MOST_VALUES} values.", "Send fewer at a time.")


def parse(text: str) -> dict[str, Any]:
    """Read the form field ``params``.

    Raises:
        TooLargeError: if it would take long to parse.
        MalformedError: if it is no JSON.
        ParamsError: if it is JSON, but no object.
    """
    refuse_many_values(separators(text))
    try:
        params = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise MalformedError("The field params is not valid JSON.", 'Send an object such as {"seed": 0}.') from None
    if not isinstance(params, dict):
        raise ParamsError("The field params is JSON, but no object.", 'Send an object such as {"seed": 0}.')
    return params


def refuse_unknown(params: Params, known: Iterable[str]) -> None:
    """Refuse keys that are neither options nor sent by stock clients.

    Raises:
        ParamsError: naming them.
    """
    known = sorted(known)
    unknown = [key for key in params if key not in known and key not in STOCK]
    if unknown:
        raise ParamsError(f"Unknown or forbidden in params: {listed(unknown)}.", f"Allowed are {', '.join(known)}.")
    if params.get("result_extension", ".nrrd") != ".nrrd":
        raise ParamsError("Label maps are sent as .nrrd only.", "Leave result_extension away.")


def listed(keys: Iterable[object]) -> str:
    """Return names for a message: the first few, each cut short."""
    names = [str(key)[:64] for key in keys]
    return ", ".join(sorted(names[:MOST_LISTED])) + (
        f" and {len(names) - MOST_LISTED} more" if names[MOST_LISTED:] else ""
    )


def text(params: Params, key: str, most: int) -> str | None:
    """Read a short text or a number as text; absent or ``auto``: None.

    Raises:
        ParamsError: if it is something else, or longer than ``most`` letters.
    """
    value = params.get(key)
    if value is None or value == AUTO:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > most:
        raise ParamsError(f"The parameter {key} is no text of at most {most} letters.", f'Give one, or "{AUTO}".')
    return value or None


def one_of(params: Params, key: str, choices: Sequence[str]) -> str | None:
    """Read a choice; absent or ``auto``: None.

    Raises:
        ParamsError: listing the choices.
    """
    value = params.get(key)
    if isinstance(value, str) and value in choices:
        return value
    if value is None or value == AUTO:
        return None
    raise ParamsError(f"{key} {str(value)[:64]!r} is unknown.", f"Give one of {', '.join(choices)}.")


def whole_number(params: Params, key: str, low: int, high: int) -> int | None:
    """Read an integer in ``[low, high]``; absent or ``auto``: None.

    Raises:
        ParamsError: if it is something else.
    """
    value = params.get(key)
    if value is None or value == AUTO:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParamsError(f"{key} {str(value)[:64]!r} is no whole number from {low} to {high}.", "Correct it.")
    return value


def number(params: Params, key: str, low: float, high: float) -> float | None:
    """Read a number in ``[low, high]``; absent or ``auto``: None.

    Raises:
        ParamsError: if it is something else.
    """
    value = params.get(key)
    if value is None or value == AUTO:
        return None
    if not _finite(value) or not low <= value <= high:
        raise ParamsError(f"{key} {str(value)[:64]!r} is no number from {low:g} to {high:g}.", "Correct it.")
    return float(value)


def yes_or_no(params: Params, key: str) -> bool:
    """Read a yes or no; absent or ``auto``: no.

    Raises:
        ParamsError: if it is something else.
    """
    value = params.get(key)
    if value is None or value == AUTO:
        return False
    if not isinstance(value, bool):
        raise ParamsError(f"{key} {str(value)[:64]!r} is neither true nor false.", "Correct it.")
    return value


def place(params: Params, key: str) -> tuple[float, float, float] | None:
    """Read ``[R, A, S]`` in millimetres; absent or ``auto``: None.

    Raises:
        ParamsError: if it is something else.
    """
    value = params.get(key)
    if value is None or value == AUTO:
        return None
    if not isinstance(value, list) or len(value) != 3 or not all(_finite(number) for number in value):
        raise ParamsError(f"{key} {str(value)[:64]!r} is no place.", "Give three numbers: R, A, S in millimetres.")
    r, a, s = (float(number) for number in value)
    return (r, a, s)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
