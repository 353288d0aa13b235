"""``otherwise ...``: the command line. Every command is a thin door to one room."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from otherwise import __version__
from otherwise.errors import OtherwiseError

EXIT_REFUSED = 2
"""What was asked cannot be done; the one line on standard error says why."""
EXIT_INTERRUPTED = 130
"""Ctrl-C; finished work is kept."""


def build() -> typer.Typer:
    """Assemble the command tree. Heavy libraries are imported by the commands, not here."""
    from otherwise.cli import classifier, demo, explain, phantoms, serve, train

    app = typer.Typer(
        help="What would make the model decide otherwise?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in (demo, serve, explain, train, classifier, phantoms):
        module.register(app)

    @app.callback(invoke_without_command=True)
    def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
        if show:
            typer.echo(__version__)
            raise typer.Exit

    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; an error is one line and an exit code other than 0."""
    try:
        code = build()(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except OtherwiseError as error:
        typer.secho(f"otherwise: {error}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_REFUSED)
    except typer.TyperError if hasattr(typer, "TyperError") else () as error:  # pragma: no cover
        raise error
    sys.exit(code if isinstance(code, int) else 0)
