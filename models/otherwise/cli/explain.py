"""``otherwise explain``: explain one image, or all of a folder, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from otherwise.cli.explain_all import explain_archive
from otherwise.cli.options.image_source import image_source
from otherwise.cli.options.pair import choose_pair
from otherwise.cli.options.patches import Foreground, Overlap, Share, SkipMuscle
from otherwise.cli.progress import shown
from otherwise.images.kinds import Projection


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("explain")
    def explain(
        image: Annotated[
            Path, typer.Argument(help="An image file, a folder of one series, or DICOMweb.", parser=image_source)
        ],
        out: Annotated[
            Path,
            typer.Option(
                help="Folder to write the explanation to; must not exist. With --all: an interrupted run is resumed."
            ),
        ],
        every: Annotated[
            bool, typer.Option("--all", help="IMAGE is a folder: explain every image in it, and write a table too.")
        ] = False,
        workers: Annotated[
            int | None, typer.Option(min=1, help="With --all: number of processes, through Ray. Default: 1.")
        ] = None,
        cluster: Annotated[
            str | None,
            typer.Option(metavar="ADDRESS", help="With --all: of a Ray cluster, host:port or ray://host:port."),
        ] = None,
        classifier: Annotated[
            str | None, typer.Option(help="Bundle folder, or name of a shipped bundle. Required, except for phantoms.")
        ] = None,
        agent: Annotated[
            str | None, typer.Option(help="Bundle folder, or name of a shipped bundle. Default: the classifier's.")
        ] = None,
        target: Annotated[
            str | None,
            typer.Option(
                help="Class to flip to; default: the nearest other one. Of a value: '<10', '>=50', '-20' (so "
                "much less), '=200' or a category."
            ),
        ] = None,
        tolerance: Annotated[
            float | None, typer.Option(help="Of a value: distance within which it is reached. Default: the model's.")
        ] = None,
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
        find: Annotated[
            int, typer.Option(min=1, help="For a classifier of patches: which of its finds; see otherwise find.")
        ] = 1,
        centre: Annotated[
            tuple[float, float, float] | None,
            typer.Option(metavar="R A S", help="For a classifier of patches, instead: a patch's middle (mm)."),
        ] = None,
        whole: Annotated[
            bool,
            typer.Option("--whole", help="For a classifier of patches: with the next finds until the image flips."),
        ] = False,
        overlap: Overlap = None,
        share: Share = None,
        foreground: Foreground = None,
        skip_muscle: SkipMuscle = False,
        noise: Annotated[
            float,
            typer.Option(
                min=0, max=0.5, help="Explain the mean answer under mild noise, 0.05 of the range, say; 0: the answer."
            ),
        ] = 0.0,
        edit: Annotated[
            Literal["auto", "draw", "shape"],
            typer.Option(
                help="How the image may change. shape: it is only deformed. draw: the agent draws. auto: a deformation "
                "for models that were measured to follow it, else draw."
            ),
        ] = "auto",
        confidence: Annotated[
            float | None,
            typer.Option(
                min=0, max=1, help="Probability of the target that convinces. Default: as measured for the agent."
            ),
        ] = None,
        seed: Annotated[int, typer.Option(help="For the alternatives.")] = 0,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
        precision: Annotated[
            Literal["auto", "fp32", "bf16"],
            typer.Option(help="In which the agent draws. auto: bf16 where it is faster and costs nothing."),
        ] = "auto",
        trust_code: Annotated[bool, typer.Option(help="Allow a classifier bundle to run its own Python code.")] = False,
        dicom: Annotated[
            bool,
            typer.Option("--dicom", help="Of a DICOM image: write SEG, Parametric Maps and SR into OUT/dicom too."),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print explanation.json.")] = False,
    ) -> None:
        """Find the least change of an image that changes the classifier's answer; write it with a report."""
        from otherwise.explain.loading import load_explainer
        from otherwise.explain.request import ExplainRequest, explain_request, read_for_explanation
        from otherwise.finding.scan import Scan
        from otherwise.report import headline
        from otherwise.report.folder import REPORT_NAME, refuse_existing, write_explanation

        classifier, agent = choose_pair(image, classifier, agent)
        scan = Scan(overlap, share, foreground, muscle=not skip_muscle)
        request = ExplainRequest(
            target, seed, slice_index, projection, find, centre, noise, scan, whole, tolerance, edit
        )
        if every:
            from otherwise.batch.worker import BatchOrder

            _refuse(
                {"--image": part, "--centre": centre, "--dicom": dicom, "--confidence": confidence},
                "is for one image, not for --all",
            )
            order = BatchOrder(classifier, agent, device, request, trust_code, precision)
            explain_archive(image, out, order, workers, cluster, as_json)
            return
        _refuse({"--workers": workers, "--cluster": cluster}, "is for --all")
        refuse_existing(out)
        if dicom:
            _check_dicom(image, part, projection)
        explainer = load_explainer(classifier, agent, device, trust_code, confidence, precision)
        source = read_for_explanation(explainer, image, request, part)
        with shown("explain") as advance:
            explanation = explain_request(explainer, source, request, advance)
        write_explanation(explanation, out)
        if dicom:
            from otherwise.report.dicom.write import FOLDER, write_dicom

            write_dicom(explanation, image, out / FOLDER, part=part)
        if as_json:
            typer.echo(json.dumps(json.loads((out / "explanation.json").read_text(encoding="utf-8"))))
            return
        typer.echo(f"{source.id}: {headline.question(explanation)}")
        typer.echo(headline.answer(explanation))
        for warning in explanation.warnings:
            typer.echo(f"Warning: {warning.text}")
        typer.echo(f"Report: {out / REPORT_NAME}")


def _refuse(options: dict[str, object], reason: str) -> None:
    """Refuse options that have no effect here.

    Raises:
        BadParameter: for the first of them.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise typer.BadParameter(f"{name} {reason}.")


def _check_dicom(image: Path, part: str | None, projection: Projection | None) -> None:
    """Refuse early what cannot be written as DICOM.

    Raises:
        DicomError: if the image is not DICOM, or is a projection, which no instance of the source shows.
    """
    from otherwise.report.dicom.source import DicomError, locate_source

    if projection is not None:
        raise DicomError("A projection is no image of its source.", "Leave out --project or --dicom.")
    locate_source(image, part)
