"""``otherwise benchmark confounders``: what does a model's value follow besides the outcome?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(benchmark: typer.Typer) -> None:
    """Add the command."""

    @benchmark.command("confounders")
    def confounders(
        answers: Annotated[
            list[Path],
            typer.Option(help="Table of otherwise classify --out, of images unseen in training; may be repeated."),
        ],
        labels: Annotated[Path, typer.Option(help="CSV with id, file, patient, the outcome, and covariates.")],
        outcome: Annotated[str, typer.Option(help="Column of the outcome: numbers.")],
        out: Annotated[Path, typer.Option(help="Folder for confounders.json and confounders.md.")],
        covariates: Annotated[str | None, typer.Option(help="Only these columns: a,b. Default: all.")] = None,
    ) -> None:
        """Compare a model's values with an outcome and with covariates, by image and by patient.

        A covariate confounds the value if it goes with the outcome, and the value follows it at the same outcome.
        """
        from otherwise.evaluation.confounding_table import compare_tables, write_confounding

        only = [name.strip() for name in covariates.split(",")] if covariates else None
        typer.echo(write_confounding(compare_tables(answers, labels, outcome, only), out))
