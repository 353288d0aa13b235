"""``otherwise classify``: ask a classifier about an image, a folder or a table of images."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.contract import UsageError
from otherwise.cli.progress import shown
from otherwise.images.kinds import Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otherwise.blackbox.answers import Answer
    from otherwise.blackbox.protocol import BlackBox
    from otherwise.images.image import Image
    from otherwise.images.listing import FoundImage

SOME_FAILED = 3
"""The table says which images have no answer, and why."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("classify")
    def classify(
        source: Annotated[Path, typer.Argument(help="An image, a folder, or a CSV with a column file.")],
        classifier: Annotated[str, typer.Option(help="Bundle, or the name of a shipped one.")],
        out: Annotated[Path | None, typer.Option(help="CSV to write: a row for each image.")] = None,
        slice_index: Annotated[
            int | None, typer.Option("--slice", help="For a 2-D classifier and volumes: which slice.")
        ] = None,
        projection: Annotated[
            Projection | None, typer.Option("--project", help="Instead, see through volumes along their slices.")
        ] = None,
        device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
        trust_code: Annotated[
            bool, typer.Option("--trust-code", help="Allow the bundle to run its own Python.")
        ] = False,
        replace: Annotated[bool, typer.Option("--replace", help="Replace an existing table.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    ) -> None:
        """Say what a classifier says of images; exit code 3 if some have no answer."""
        from otherwise.blackbox.answers import write_answers
        from otherwise.blackbox.loading import load_classifier
        from otherwise.images.listing import list_images

        if out is not None and out.exists() and not replace:
            raise UsageError(f"There is already something at {out}.", "Choose another name, or give --replace.")
        box = load_classifier(classifier, device=device, trust_code=trust_code)
        listing = list_images(source, without=out)
        if out is None and not as_json and len(listing.images) > 1:
            raise UsageError(f"{source.name} holds {len(listing.images)} images.", "Give --out answers.csv or --json.")
        with shown("classify") as tell:
            answers = _ask(box, listing.images, slice_index, projection, lambda done, all: tell("", done / all))
        if out is not None:
            write_answers(answers, box.classes, out)
        failed = sum(bool(answer.error) for answer in answers)
        if as_json:
            content = [asdict(answer) for answer in answers]
            typer.echo(json.dumps(content[0] if len(content) == 1 and out is None else content))
        else:
            _say(answers, out, listing.left_out_line)
        if failed:
            raise typer.Exit(SOME_FAILED)


def _ask(
    box: BlackBox,
    images: Sequence[FoundImage],
    slice_index: int | None,
    projection: Projection | None,
    progress: Callable[[int, int], None],
) -> list[Answer]:
    """Ask about whole images; a classifier of patches is asked for its best find in each."""
    from otherwise.blackbox.answers import classify_images
    from otherwise.images.projecting import project

    def prepare(image: Image) -> Image:
        return project(image, projection) if projection is not None else image

    if box.inputs.patches is None:
        ask = partial(classify_images, box, images, slice_index=slice_index, prepare=prepare, progress=progress)
        return list(ask())
    from otherwise.blackbox.answers import Answer
    from otherwise.errors import OtherwiseError
    from otherwise.finding.finder import Finder
    from otherwise.images.reading import read_image

    finder, answers = Finder(box), []
    for done, found in enumerate(images, start=1):
        try:
            best = finder.find(prepare(read_image(found)), slice_index, most=1)[0].probabilities
            answers.append(Answer(found.id, found.name, max(best, key=lambda name: best[name]), dict(best)))
        except OtherwiseError as error:
            answers.append(Answer(found.id, found.name, "", {}, error=str(error)))
        progress(done, len(images))
    return answers


def _say(answers: Sequence[Answer], out: Path | None, left_out: str) -> None:
    if out is None:
        (answer,) = answers
        if answer.error:
            typer.echo(f"{answer.id}: {answer.error}", err=True)
            return
        shares = ", ".join(f"{name} {value:.4f}" for name, value in answer.probabilities.items())
        typer.echo(f"{answer.id}: {answer.label} ({shares})")
        for warning in answer.warnings:
            typer.echo(f"Warning: {warning.text}", err=True)
        return
    failed = [answer for answer in answers if answer.error]
    warned = [answer for answer in answers if answer.warnings]
    typer.echo(
        f"{out}: {len(answers) - len(failed)} of {len(answers)} images answered" + (f"; {left_out}" * bool(left_out))
    )
    if failed:
        typer.echo(f"No answer for {len(failed)}, such as {failed[0].path}: {failed[0].error}", err=True)
    if warned:
        typer.echo(f"Warnings for {len(warned)}, such as {warned[0].path}: {warned[0].warnings[0].text}", err=True)
