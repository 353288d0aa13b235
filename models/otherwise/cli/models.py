"""``otherwise models``: list, add, activate and roll back the model versions of a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

State = Annotated[Path, typer.Option(help="The server's state folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    models = typer.Typer(help="Versions of the models that a server uses.", no_args_is_help=True)
    app.add_typer(models, name="models")

    @models.command("list")
    def list_(state: State, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
        """List all versions, the oldest first; the one in use is marked."""
        from otherwise.registry.registry import Registry

        registry = Registry(state / "models")
        active, versions = registry.active(), registry.all()
        if as_json:
            typer.echo(json.dumps({"active": asdict(active), "versions": [asdict(v) for v in versions]}, indent=2))
            return
        for version in versions:
            mark = "*" if version.id == active.id else " "
            figures = ", ".join(f"{name} {value:g}" for name, value in (version.after or {}).items())
            typer.echo(f"{mark} {version.id}  {version.created}  {version.classifier.name} + {version.agent.name}")
            for line in (figures, version.note):
                if line:
                    typer.echo(f"    {line}")
        if not versions:
            typer.echo("The server has not kept any version yet.")

    @models.command("add")
    def add(
        classifier: Annotated[str, typer.Option(help="Bundle of the classifier, or a shipped bundle's name.")],
        agent: Annotated[str, typer.Option(help="Bundle of its agent.")],
        state: State,
        note: Annotated[str, typer.Option(help="Note that is shown in the list of versions.")] = "",
        trust_code: Annotated[bool, typer.Option("--trust-code", help="Allow bundles to run their own code.")] = False,
    ) -> None:
        """Add a pair as a version; it is used once it is activated."""
        from otherwise.cli.options.pair import load_pair
        from otherwise.explain.explainer import Explainer
        from otherwise.registry.registry import Model, PairVersion, Registry, lasting_reference, now, pair_id

        hosted, taught = load_pair(classifier, agent, "cpu", trust_code)
        Explainer(hosted, taught)  # refuses a classifier and an agent that do not match
        version = Registry(state / "models").add(
            PairVersion(
                id=pair_id(hosted.version, taught.version),
                created=now(),
                classifier=Model(hosted.name, hosted.version, lasting_reference(classifier)),
                agent=Model(taught.name, taught.version, lasting_reference(agent)),
                note=note,
            )
        )
        typer.echo(f"Kept: {version.id}")

    @models.command("activate")
    def activate(version: Annotated[str, typer.Argument(help="Its id.")], state: State) -> None:
        """Activate a version; a running server switches within seconds and drops no request."""
        from otherwise.registry.registry import Registry

        chosen = Registry(state / "models").activate(version, "Chosen on the command line.")
        typer.echo(f"In use: {chosen.id}")

    @models.command("rollback")
    def rollback(state: State) -> None:
        """Activate the version that was active before."""
        from otherwise.registry.registry import Registry

        chosen = Registry(state / "models").roll_back("Rolled back on the command line.")
        typer.echo(f"In use: {chosen.id}")
