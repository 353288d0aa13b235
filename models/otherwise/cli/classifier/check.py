"""``otherwise classifier check``: check whether a classifier can be hosted and answers as expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.classifier.options import AsJson, Device, Trust
from otherwise.cli.options.image_source import image_source
from otherwise.cli.options.input_contract import UsageError

EXIT_NOT_HOSTABLE = 1
"""The classifier was examined and cannot be hosted."""


def check(
    bundle: Annotated[str, typer.Argument(help="Bundle, or the name of a shipped one.")],
    images: Annotated[
        Path | None, typer.Option(help="Images to classify: folder, file, CSV or DICOMweb.", parser=image_source)
    ] = None,
    expected: Annotated[
        Path | None,
        typer.Option(help="CSV with the answers of your own pipeline: id or path, and each class or the value."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="HTML page of what the network sees; with --expected: beside its CSV.")
    ] = None,
    slice_index: Annotated[int | None, typer.Option("--slice", help="For a 2-D classifier and volumes.")] = None,
    device: Device = "cpu",
    trust_code: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Check whether a classifier can be hosted and answers as expected; exit code 1 if not."""
    from otherwise.blackbox.checks.report import AnswerComparison, check_classifier
    from otherwise.finding.patches import patches_to_check

    if images is None and (expected or page):
        raise UsageError("--expected and --page need the images.", "Give --images DIR.")
    if expected is not None and page is None:
        page = expected.with_name(f"{expected.stem}-seen.html")
    comparison = AnswerComparison(expected, page, slice_index)
    report = check_classifier(
        bundle,
        images,
        device=device,
        trust_code=trust_code,
        comparison=comparison,
        patches_of=patches_to_check,
    )
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        for finding in report.findings:
            typer.echo(f"{finding.state:8} {finding.topic:11} {finding.text}")
        typer.secho(report.verdict, fg=typer.colors.GREEN if report.hostable else typer.colors.RED)
    if not report.hostable:
        raise typer.Exit(EXIT_NOT_HOSTABLE)
