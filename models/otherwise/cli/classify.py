"""``otherwise classify``: classify an image, a folder or a table of images."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.options.image_source import image_source
from otherwise.cli.options.input_contract import UsageError
from otherwise.cli.progress import shown
from otherwise.images.kinds import Projection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otherwise.blackbox.answers import Answer

SOME_FAILED = 3
"""Exit code if some images have no answer; the table has the reasons."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("classify")
    def classify(
        source: Annotated[
            Path,
            typer.Argument(help="An image, a folder, a CSV with a column file, or DICOMweb.", parser=image_source),
        ],
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
            bool, typer.Option("--trust-code", help="Allow the bundle to run its own Python code.")
        ] = False,
        workers: Annotated[
            int | None, typer.Option(min=1, help="Number of processes, through Ray. Default: this one.")
        ] = None,
        cluster: Annotated[
            str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster, host:port or ray://host:port.")
        ] = None,
        replace: Annotated[bool, typer.Option("--replace", help="Replace an existing table.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    ) -> None:
        """Classify images; exit code 3 if some have no answer."""
        from otherwise.batch.classifying import ClassifyOrder, classify_here, classify_on_ray
        from otherwise.blackbox.answers import write_answers
        from otherwise.blackbox.loading import load_classifier
        from otherwise.images.listing import list_images

        if out is not None and out.exists() and not replace:
            raise UsageError(f"There is already something at {out}.", "Choose another name, or give --replace.")
        box = load_classifier(classifier, device=device, trust_code=trust_code)
        listing = list_images(source, without=out)
        if out is None and not as_json and len(listing.images) > 1:
            raise UsageError(f"{source.name} holds {len(listing.images)} images.", "Give --out answers.csv or --json.")
        order = ClassifyOrder(classifier, device, trust_code, slice_index, projection)
        with shown("classify") as advance:

            def progress(done: int, total: int) -> None:
                advance("", done / total)

            if cluster is None and (workers or 1) == 1:
                answers = classify_here(box, listing.images, order, progress)
            else:
                answers = classify_on_ray(listing.images, order, workers, cluster, progress)
        if out is not None:
            write_answers(answers, box.classes, out)
        failed = sum(bool(answer.error) for answer in answers)
        if as_json:
            content = [_content(answer) for answer in answers]
            typer.echo(json.dumps(content[0] if len(content) == 1 and out is None else content))
        else:
            _say(answers, out, listing.left_out_line)
        if failed:
            raise typer.Exit(SOME_FAILED)


def _content(answer: Answer) -> dict[str, object]:
    """Return an answer for machines; one of classes has no value."""
    content = asdict(answer)
    return content if answer.value is not None else {k: v for k, v in content.items() if k not in ("value", "unit")}


def _say(answers: Sequence[Answer], out: Path | None, left_out: str) -> None:
    if out is None:
        (answer,) = answers
        if answer.error:
            typer.echo(f"{answer.id}: {answer.error}", err=True)
            return
        if answer.value is not None:
            from otherwise.blackbox.output_kind import with_unit

            typer.echo(f"{answer.id}: {with_unit(answer.value, answer.unit)}")
        else:
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
