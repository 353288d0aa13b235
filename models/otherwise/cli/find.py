"""``otherwise find IMAGE``: which patches of a whole image are worth explaining."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.progress import shown
from otherwise.cli.source import image_source
from otherwise.cli.tables import print_table
from otherwise.images.kinds import Projection


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("find")
    def find(
        image: Annotated[
            Path, typer.Argument(help="An image file, a folder of one series, or DICOMweb.", parser=image_source)
        ],
        classifier: Annotated[str, typer.Option(help="Bundle of a classifier of patches, or name of a shipped one.")],
        part: Annotated[
            str | None,
            typer.Option("--image", help="ID of the image, if the folder has several (otherwise studies)."),
        ] = None,
        slice_index: Annotated[
            int | None, typer.Option("--slice", help="For a 2-D classifier and a volume: which slice.")
        ] = None,
        projection: Annotated[
            Projection | None, typer.Option("--project", help="Instead, see through the volume along its slices.")
        ] = None,
        most: Annotated[int, typer.Option(min=1, help="Most finds.")] = 10,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
        trust_code: Annotated[bool, typer.Option(help="Allow a classifier bundle to run its own Python.")] = False,
        out: Annotated[
            Path | None, typer.Option(help="Folder to write finds.json and a page with pictures to; must not exist.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the finds as JSON.")] = False,
    ) -> None:
        """Look at every patch of an image with a classifier of patches; print the most probable, best first."""
        from rich.table import Table

        from otherwise.blackbox.loading import load_classifier
        from otherwise.finding.finder import Finder
        from otherwise.images.projecting import project
        from otherwise.images.reading import read_image
        from otherwise.report.finds import write_finds
        from otherwise.report.folder import refuse_existing

        if out is not None:
            refuse_existing(out)
        finder = Finder(load_classifier(classifier, device=device, trust_code=trust_code))
        source = read_image(image, part=part)
        if projection is not None:
            source = project(source, projection)
        with shown("look") as advance:
            finds = finder.find(source, slice_index, most, partial(advance, ""))
        if out is not None:
            page = write_finds(source, finds, finder.classifier, out)
        if as_json:
            typer.echo(
                json.dumps({"image": source.id, "unit": source.unit, "finds": [asdict(found) for found in finds]})
            )
            return
        from otherwise.report import words

        table = Table("rank", *finder.patches.wanted, words.centre_heading(source.unit), "voxels", title=source.id)
        for found in finds:
            shares = [f"{found.probabilities[name]:.3f}" for name in finder.patches.wanted]
            place = words.centre(source, found.centre_ras)
            box = " ".join(f"{a}-{b - 1}" for a, b in zip(found.low, found.high, strict=True))
            table.add_row(str(found.rank), *shares, place, box)
        print_table(table)
        if out is not None:
            typer.echo(f"Page: {page}")
