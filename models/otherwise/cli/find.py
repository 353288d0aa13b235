"""``otherwise find``: which patches of a whole image, or of many, are worth explaining."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.options.image_source import image_source
from otherwise.cli.options.input_contract import UsageError
from otherwise.cli.options.patches import Coarse, Foreground, Overlap, Share, SkipMuscle
from otherwise.cli.progress import shown
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
        most: Annotated[int, typer.Option(min=1, help="Maximum number of finds.")] = 10,
        every: Annotated[
            bool, typer.Option("--all", help="IMAGE is a folder or a CSV: find in every image; needs --out.")
        ] = False,
        truth: Annotated[
            Path | None,
            typer.Option(help="With --all: folder of masks, or CSV of points or boxes; sensitivity is measured."),
        ] = None,
        centre: Annotated[
            tuple[float, float, float] | None,
            typer.Option(metavar="R A S", help="Instead, ask about the patch around a place (mm)."),
        ] = None,
        overlap: Overlap = None,
        share: Share = None,
        foreground: Foreground = None,
        coarse: Coarse = False,
        skip_muscle: SkipMuscle = False,
        workers: Annotated[
            int | None, typer.Option(min=1, help="With --all: number of processes, through Ray. Default: this one.")
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(metavar="ADDRESS", help="With --all: of a Ray cluster, host:port or ray://host:port."),
        ] = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
        trust_code: Annotated[bool, typer.Option(help="Allow a classifier bundle to run its own Python code.")] = False,
        out: Annotated[
            Path | None, typer.Option(help="Folder to write finds.json and a page with pictures to; must not exist.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the finds as JSON.")] = False,
    ) -> None:
        """Look at every patch of an image with a classifier of patches; print the best of each place.

        The best is the most probable one; of a value the highest or lowest, as its bundle says (import --find).
        """
        from rich.table import Table

        from otherwise.blackbox.loading import load_classifier
        from otherwise.blackbox.view import image_warnings
        from otherwise.finding.finder import Finder
        from otherwise.finding.scan import Scan
        from otherwise.images.projecting import project
        from otherwise.images.reading import read_image
        from otherwise.report.finds import write_finds
        from otherwise.report.folder import refuse_existing

        if out is not None:
            refuse_existing(out)
        scan = Scan(overlap, share, foreground, fine=not coarse, muscle=not skip_muscle)
        if every:
            from otherwise.batch.finding import FindOrder
            from otherwise.cli.find_all import find_all
            from otherwise.report.all_finds import picture_of

            if out is None:
                raise UsageError("--all writes a table and a page.", "Say where: --out FOLDER.")
            if part is not None or centre is not None:
                raise UsageError("--image and --centre are for one image.", "Leave them out, or leave --all out.")
            order = FindOrder(classifier, device, trust_code, slice_index, projection, scan, most, picture_of)
            find_all(image, out, order, truth, workers, cluster, as_json)
            return
        if truth is not None or workers is not None or cluster is not None:
            raise UsageError("--truth, --workers and --cluster are for many images.", "Give --all, too.")
        finder = Finder(load_classifier(classifier, device=device, trust_code=trust_code), scan)
        source = read_image(image, part=part)
        if projection is not None:
            source = project(source, projection)
        with shown("look") as advance:
            if centre is not None:
                finds, warnings = [finder.patch_at(source, centre, slice_index)], image_warnings(source, finder.inputs)
            else:
                scores = finder.score(source, slice_index, partial(advance, ""))
                finds = finder.finds(scores, most)
                warnings = (*image_warnings(source, finder.inputs), *scores.warnings)
        if out is not None:
            page = write_finds(source, finds, finder.classifier, out, warnings)
        if as_json:
            content = {
                "image": source.id,
                "unit": source.unit,
                "warnings": [asdict(warning) for warning in warnings],
                "finds": [asdict(found) for found in finds],
            }
            typer.echo(json.dumps(content))
            return
        from otherwise.report import words
        from otherwise.report.find_values import FindWords

        find_words = FindWords.of(finder.classifier)
        table = Table("rank", *find_words.headings, words.centre_heading(source.unit), "voxels", title=source.id)
        for found in finds:
            if finder.concern is None:
                shares = [f"{found.probabilities[name]:.3f}" for name in find_words.headings]
            else:
                shares = [cell.text for cell in find_words.cells(found)]
            place = words.centre(source, found.centre_ras)
            box = " ".join(f"{a}-{b - 1}" for a, b in zip(found.low, found.high, strict=True))
            table.add_row(str(found.rank), *shares, place, box)
        print_table(table)
        for warning in warnings:
            typer.echo(f"Warning: {warning.text}", err=True)
        if out is not None:
            typer.echo(f"Page: {page}")
