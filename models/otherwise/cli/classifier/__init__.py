"""``otherwise classifier import | check | train``: make, examine and train classifiers."""

import typer

from otherwise.cli.classifier.check import check
from otherwise.cli.classifier.import_model import import_model
from otherwise.cli.classifier.train import train


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Import, check or train a classifier.", no_args_is_help=True)
    app.add_typer(group, name="classifier")
    group.command("import")(import_model)
    group.command("check")(check)
    group.command("train")(train)
