"""``otherwise doctor``: check whether a server would work here, or whether a running one is safe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.doctor import checks
from otherwise.cli.doctor.checks import Check, CheckResult
from otherwise.cli.doctor.security_checks import CheckedServer, security_checks

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def doctor(
        studies: Annotated[str | None, typer.Option(help="Folder of images, or address of a DICOMweb server.")] = None,
        classifier: Annotated[str, typer.Option(help="As for otherwise serve.")] = "mammogram_classifier",
        agent: Annotated[str, typer.Option(help="As for otherwise serve.")] = "mammogram_agent",
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        state: Annotated[Path | None, typer.Option(help="Folder of the state. Default: beside the studies.")] = None,
        database: Annotated[str | None, typer.Option(help="SQLite file or URL. Default: in the state.")] = None,
        tokens: Annotated[Path | None, typer.Option(help="File of tokens.")] = None,
        certificate: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).")] = None,
        key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
        constraints: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="constraints.txt, to compare versions with.")
        ] = None,
        security: Annotated[
            bool, typer.Option("--security", help="Look at a running server from outside instead.")
        ] = False,
        address: Annotated[
            str | None,
            typer.Option(
                help="With --security: of the server, with /token/TOKEN to log in. Default: by host and port."
            ),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    ) -> None:
        """Check whether otherwise serve would work with these options, or is safe; exit code 1 if not."""
        if security:
            at = CheckedServer.at(address, certificate) if address else None
            server = at or CheckedServer.listening(host, port, certificate)
            _finish(examine_all(security_checks(server, state or _beside(studies), tokens)), as_json)
            return
        asked: dict[str, Check] = {
            "python": checks.python,
            "packages": checks.packages,
            "device": lambda: checks.device(device),
            "models": lambda: checks.models(classifier, agent),
            "port": lambda: checks.port(host, port),
        }
        if constraints:
            asked["pins"] = lambda: checks.pins(constraints)
        folder = state or _beside(studies)
        if studies:
            asked["studies"] = lambda: checks.studies(studies)
        if folder:
            asked["state"] = lambda: checks.room(folder)
        if database or folder:
            asked["database"] = lambda: checks.database(database or str(Path(folder or "") / "annotations.sqlite"))
        if tokens:
            asked["tokens"] = lambda: checks.tokens(tokens)
        if certificate:
            asked["certificate"] = lambda: checks.certificate(certificate, key)
        _finish(examine_all(asked), as_json)


def examine_all(asked: Mapping[str, Check]) -> list[CheckResult]:
    """Run all checks in order; a failed check does not stop the others."""
    return [checks.examine(name, check) for name, check in asked.items()]


def _finish(found: list[CheckResult], as_json: bool) -> None:
    """Show what was found; exit code 1 if anything fails."""
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
    else:
        _print(found)
    if any(each.state == "fail" for each in found):
        raise typer.Exit(1)


def _beside(studies: str | None) -> Path | None:
    if not studies or studies.startswith(("http://", "https://")):
        return None
    folder = Path(studies).resolve()
    return folder.with_name(f"{folder.name}-otherwise")


def _print(found: list[CheckResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", "what", "what to do")
    for each in found:
        table.add_row(each.name, f"[{COLOURS[each.state]}]{each.state}[/]", each.what, each.hint)
    Console().print(table)
