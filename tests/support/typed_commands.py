"""Read commands from the docs, replace their placeholders, and run them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from typer.testing import CliRunner

from otherwise.cli import build
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


def type_in(words: list[str]) -> str:
    """Run a command in this process, and return what it printed.

    Raises:
        AssertionError: if it does not exit with 0.
    """
    result = CliRunner().invoke(build(), words)
    assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}{result.exception or ''}"
    return result.output


def _meaning(word: str, meant: Mapping[str, str]) -> str:
    first, slash, rest = word.partition("/")
    return meant.get(word, f"{meant.get(first, first)}{slash}{rest}")
