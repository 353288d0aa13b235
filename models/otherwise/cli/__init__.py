"""``otherwise ...``: the command line. Every command is a thin layer over one room."""

# No "from __future__ import annotations": it would hide the module "annotations" from "build".
import gc
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from otherwise import __version__
from otherwise.errors import OtherwiseError

EXIT_REFUSED = 2
"""Exit code of a refused command; one line on standard error has the reason."""
EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C; finished work is kept."""

GARBAGE = (50_000, 20, 100)
"""How many new objects the search for cyclic garbage waits for, see ``gc.set_threshold``. By Python's default it looks
through all that PyTorch and MONAI import time and again, a tenth of the CPU time of a short command."""


def build() -> typer.Typer:
    """Assemble the command tree. Heavy libraries are imported by the commands, not here."""
    from otherwise.cli import (
        annotations,
        benchmark,
        classifier,
        classify,
        combine,
        concepts,
        demo,
        doctor,
        explain,
        find,
        models,
        phantoms,
        prepare,
        serve,
        studies,
        tokens,
        train,
    )

    app = typer.Typer(
        help="What would make the model decide otherwise?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    for module in (
        demo,
        serve,
        classify,
        explain,
        find,
        studies,
        combine,
        train,
        classifier,
        phantoms,
        prepare,
        annotations,
        concepts,
        models,
        tokens,
        doctor,
        benchmark,
    ):
        module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; an error is one line on standard error."""
    gc.set_threshold(*GARBAGE)
    sys.exit(run(build, arguments))


def run(assemble: Callable[[], typer.Typer], arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        assemble: Returns the command tree; called here, so that Ctrl-C during its imports is caught too.
        arguments: The words after ``otherwise``; None: those of this process.

    Returns:
        0, the code that the command gave ``typer.Exit``, ``EXIT_REFUSED`` or ``EXIT_INTERRUPTED``.
    """
    words = None if arguments is None else list(arguments)
    try:
        code = assemble()(args=words, prog_name="otherwise", standalone_mode=False)
    except OtherwiseError as error:
        return _refused(str(error))
    except typer.TyperException as error:
        return _refused(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("otherwise: interrupted.", err=True)
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0


def _refused(message: str) -> int:
    # typer reports a call without a command as an error without a message, after it has printed the help.
    if message:
        typer.secho(f"otherwise: {' '.join(message.splitlines())}", fg=typer.colors.RED, err=True)
    return EXIT_REFUSED


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take the options that precede a command."""
