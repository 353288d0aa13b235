"""Whatever goes wrong on the command line is one line and the right exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
import pytest
import typer
from rich import markup

from otherwise import __version__
from otherwise.cli import EXIT_INTERRUPTED, EXIT_REFUSED, build, main, run
from otherwise.errors import ImageError, OtherwiseError


def tree(command: Callable[[], None]) -> Callable[[], typer.Typer]:
    """Make a command tree in which ``otherwise act`` does one thing."""

    def assemble() -> typer.Typer:
        app = typer.Typer(no_args_is_help=True)
        app.callback()(lambda: None)
        app.command("act")(command)
        return app

    return assemble


def raises(error: BaseException) -> Callable[[], typer.Typer]:
    def command() -> None:
        raise error

    return tree(command)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--colour"], "--colour"),
        (["demonstrate"], "demonstrate"),
        (["demo", "--twice"], "--twice"),
        (["demo", "--port", "many"], "--port"),
        (["serve"], "--studies"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == EXIT_REFUSED
    line = one_line(capsys)
    assert line.startswith("otherwise: ")
    assert named in line


def test_no_word_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == EXIT_REFUSED
    printed = capsys.readouterr()
    assert "classifier" in printed.out + printed.err
    assert "Traceback" not in printed.err


def commands(command: click.Command) -> Iterator[click.Command]:
    """Yield a command and all below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below)


def test_nothing_of_a_help_text_is_swallowed_as_markup() -> None:
    """Text such as ``[default: this one]`` would be a style to rich, and would not be shown."""
    texts = []
    for command in commands(typer.main.get_command(build())):
        texts += [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
    assert len(texts) > 300
    assert [text for text in texts if markup.render(text).plain != text] == []


@pytest.mark.parametrize(
    "error", [OtherwiseError("It rains.", "Take a coat."), ImageError("It rains.\n", "Take a coat.")]
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(error: OtherwiseError, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raises(error), ["act"]) == EXIT_REFUSED
    assert one_line(capsys).split() == ["otherwise:", "It", "rains.", "Take", "a", "coat."]


def test_an_error_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(raises(ZeroDivisionError()), ["act"])


def test_ctrl_c_before_the_command_begins(capsys: pytest.CaptureFixture[str]) -> None:
    def assemble() -> typer.Typer:
        raise KeyboardInterrupt

    assert run(assemble, ["act"]) == EXIT_INTERRUPTED
    assert one_line(capsys) == "otherwise: interrupted."


def test_ctrl_c_within_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raises(KeyboardInterrupt()), ["act"]) == EXIT_INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_chooses_its_own_exit_code() -> None:
    assert run(raises(typer.Exit(1)), ["act"]) == 1
    assert run(tree(lambda: None), ["act"]) == 0
