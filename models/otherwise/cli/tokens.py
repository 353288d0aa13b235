"""``otherwise tokens``: add, list and revoke the tokens of a server's users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from otherwise.tokens import add_token, read_tokens, revoke_token, role_named

DEFAULT = Path("tokens.txt")
File = Annotated[Path, typer.Option("--tokens", help="The file of tokens that otherwise serve is given.")]
Name = Annotated[str, typer.Argument(help="Name of the token's owner.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    tokens = typer.Typer(help="Manage the tokens of a server: who may use it, in which role.", no_args_is_help=True)
    app.add_typer(tokens, name="tokens")

    @tokens.command()
    def add(
        name: Name,
        role: Annotated[str, typer.Option(help="reader, annotator or admin.")] = "annotator",
        replace: Annotated[bool, typer.Option("--replace", help="Revoke an older token of this name.")] = False,
        file: File = DEFAULT,
    ) -> None:
        """Create a token and print it; it is shown only once."""
        token = add_token(file, name, role_named(role), replace)
        typer.echo(f"The token of {name} ({role.lower()}). It is kept nowhere else:", err=True)
        typer.echo(token)

    @tokens.command(name="list")
    def list_tokens(
        file: File = DEFAULT, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False
    ) -> None:
        """List the owners of tokens."""
        holders = read_tokens(file)
        if as_json:
            typer.echo(json.dumps([{"name": each.name, "role": each.role.name.lower()} for each in holders]))
            return
        for each in holders:
            typer.echo(f"{each.name:<32} {each.role.name.lower()}")

    @tokens.command()
    def revoke(name: Name, file: File = DEFAULT) -> None:
        """Revoke a token; a running server refuses it at once."""
        revoke_token(file, name)
        typer.echo(f"The token of {name} is no longer valid.")
