"""``otherwise prepare``: convert a data set to the files that training reads."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.phantoms import known_whole_kind
from otherwise.cli.progress import shown
from otherwise.phantoms.registry import WHOLE_KINDS, draw_whole, find_kind


def register(app: typer.Typer) -> None:
    """Add the commands."""
    prepare = typer.Typer(help="Bring a data set into the form that training reads.", no_args_is_help=True)
    app.add_typer(prepare, name="prepare")

    @prepare.callback()
    def _common() -> None:
        """Convert a data set to the files that training reads."""

    @prepare.command("lidc")
    def lidc(
        path: Annotated[Path, typer.Option(help="Folder with nodules.csv, image/ and mask/.")],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        volumes: Annotated[bool, typer.Option("--volumes", help="Whole nodules instead of slices, for 3-D.")] = False,
    ) -> None:
        """Write slices through the CT nodules of LIDC-IDRI, split by patient, with labels of the clean task."""
        from otherwise.datasets.lidc import write_slices, write_volumes

        with shown("Writing") as advance:
            counts = (write_volumes if volumes else write_slices)(path, out, partial(advance, ""))
        what = "volumes" if volumes else "slices"
        typer.echo(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()) + f" {what}.")

    @prepare.command("hc18")
    def hc18(
        path: Annotated[Path, typer.Option(help="Folder with measurements.csv, image/ and mask/.")],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        copies: Annotated[int, typer.Option(min=1, help="Training images of each head, cut and magnified.")] = 4,
    ) -> None:
        """Write the fetal heads of HC18 in millimetres, split by subject, with their circumference."""
        from otherwise.datasets.hc18 import write_heads

        with shown("Writing") as advance:
            counts = write_heads(path, out, copies, partial(advance, ""))
        typer.echo(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()) + " images.")

    @prepare.command("covid")
    def covid(
        path: Annotated[Path, typer.Option(help="Folder with patients.csv and image/.")],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        folds: Annotated[int, typer.Option(min=2, help="Parts for cross-validation, by patient.")] = 5,
    ) -> None:
        """Write the COVID-19 radiographs of Hannover with who was ever in intensive care, and covariates."""
        from otherwise.datasets.covid_hannover import write_radiographs

        with shown("Writing") as advance:
            counts = write_radiographs(path, out, folds, partial(advance, ""))
        typer.echo(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")

    @prepare.command("patches")
    def patches(
        kind: Annotated[
            str,
            typer.Argument(
                help=f"Which whole phantoms to cut: {', '.join(known.name for known in WHOLE_KINDS)}.",
                callback=known_whole_kind,
            ),
        ],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        count: Annotated[int, typer.Option(min=1, help="How many whole phantoms to draw.")] = 400,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the series.")] = 0,
        per_lesion: Annotated[int, typer.Option(min=1, help="Patches of each lesion.")] = 3,
        elsewhere: Annotated[int, typer.Option(min=0, help="Patches of normal tissue in each phantom.")] = 8,
    ) -> None:
        """Write labelled patches of whole phantoms: around every lesion, and of normal tissue."""
        import numpy as np

        from otherwise.evaluation.patches import PatchSampling, write_patches

        patch = find_kind(kind).patch
        assert patch is not None, "only kinds of whole size get here"
        sampling = PatchSampling(patch.size, patch.spacing, per_lesion, elsewhere)
        with shown("Drawing") as advance:
            phantoms, rng = draw_whole(kind, seed, count), np.random.default_rng(seed)
            counts = write_patches(phantoms, out, sampling, rng, lambda done: advance("", done / count))
        typer.echo(f"{out}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) + ".")
