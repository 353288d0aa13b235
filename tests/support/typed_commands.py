"""Commands as the docs print them, with what their placeholders stand for in a test."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from test_docs import commands


def typed_command(begin: str, meant: Mapping[str, str], shorter: Mapping[str, str] | None = None) -> list[str]:
    """Return the words after ``otherwise`` of a command of the docs.

    Args:
        begin: The command's beginning; the shortest command that begins so is taken.
        meant: What a placeholder stands for, as a word or, such as ``DIR``, as the beginning of a path.
        shorter: Values of options that would take long.

    Raises:
        AssertionError: if no page has such a command.
    """
    matches = sorted((text for each in commands() for text in each.values if text.startswith(begin)), key=len)
    assert matches, f"{begin}: no page says this any more"
    words = shlex.split(matches[0])[1:]
    words = [(shorter or {}).get(before, word) for before, word in zip(["", *words], words, strict=False)]
    return [_meaning(word, meant) for word in words]


def _meaning(word: str, meant: Mapping[str, str]) -> str:
    first, slash, rest = word.partition("/")
    return meant.get(word, f"{meant.get(first, first)}{slash}{rest}")
