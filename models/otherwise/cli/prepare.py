"""``otherwise prepare``: bring a data set into the form that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    prepare = typer.Typer(help="Bring a data set into the form that training reads.", no_args_is_help=True)
    app.add_typer(prepare, name="prepare")

    @prepare.callback()
    def _common() -> None:
        """Bring a data set into the form that training reads."""

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

    @prepare.command("whole-mammograms")
    def whole_mammograms(
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        count: Annotated[int, typer.Option(min=1, help="How many whole mammograms to draw.")] = 400,
        seed: Annotated[int, typer.Option(min=0, help="Names the series.")] = 0,
    ) -> None:
        """Patches of 48 mm (96 voxels) of whole phantom mammograms: about every mass, and of normal tissue."""
        import numpy as np
        from rich.console import Console
        from rich.progress import Progress

        from otherwise.evaluation.patches import write_patches
        from otherwise.phantoms.whole_mammogram import WholeMammogramSettings
        from otherwise.phantoms.whole_mammogram import whole_mammograms as draw

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Drawing", total=count)
            phantoms = draw(seed, count, WholeMammogramSettings())
            rng = np.random.default_rng(seed)
            counts = write_patches(
                phantoms, out, (96, 96), (0.5, 0.5), rng, lambda done: bar.update(task, completed=done)
            )
        typer.echo(f"{out}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) + ".")
