"""``otherwise prepare``: bring a published data set into the form that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    prepare = typer.Typer(help="Bring a published data set into the form that training reads.", no_args_is_help=True)
    app.add_typer(prepare, name="prepare")

    @prepare.callback()
    def _common() -> None:
        """Bring a published data set into the form that training reads."""

    @prepare.command("lidc")
    def lidc(
        path: Annotated[Path, typer.Option(help="Folder with nodules.csv, image/ and mask/.")],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
    ) -> None:
        """Slices through the CT nodules of LIDC-IDRI, split by patient, with labels of the clean task."""
        from rich.console import Console
        from rich.progress import Progress

        from otherwise.evaluation.lidc import write_slices

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Slicing", total=1.0)
            counts = write_slices(path, out, lambda done: bar.update(task, completed=done))
        typer.echo(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()) + " slices.")
