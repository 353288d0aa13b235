"""``otherwise classifier import``: make a bundle of a bare model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.classifier.options import (
    AsJson,
    Channels,
    Find,
    Foreground,
    HigherIs,
    Horizon,
    Measures,
    Modality,
    Overlap,
    Range,
    Replace,
    Size,
    Spacing,
    Times,
    TimeUnit,
    Tissue,
    Tolerance,
    Trust,
    Unit,
)
from otherwise.cli.classifier.output_kind import (
    Baseline,
    Categories,
    Population,
    ReadingOption,
    Reference,
    Spread,
    assumed_of,
    read_output_kind,
)
from otherwise.cli.options.input_contract import read_names, read_patches


def import_model(
    model: Annotated[
        str,
        typer.Argument(help="TorchScript, .pt2 or ONNX file, package.module:function, or http://.../v2/models/NAME."),
    ],
    size: Size,
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    classes: Annotated[str | None, typer.Option(help="Class names in the order of the outputs: a,b.")] = None,
    intensity: Annotated[
        str | None, typer.Option(help="low,high in the image's own units, mapped to 0..1; image: each image's own.")
    ] = None,
    spacing: Spacing = None,
    channels: Channels = 1,
    modality: Modality = "OT",
    find: Find = None,
    foreground: Foreground = None,
    overlap: Overlap = None,
    share: Tissue = None,
    axes: Annotated[
        str | None,
        typer.Option(help="The tensor's axes: rows,columns (default), columns,rows, x,y,z or slices,rows,columns."),
    ] = None,
    orientation: Annotated[
        str | None, typer.Option(help="Anatomical directions of columns, rows, slices: LPS, RAS ...; file: as stored.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option("--field-of-view", help="Without a spacing: stretch, pad, crop, crop:256 or native.")
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="linear, antialias, cubic, area, mean, nearest or gaussian.")
    ] = None,
    grey: Annotated[str, typer.Option(help="Colour where one channel is wanted: refuse, luma or mean.")] = "refuse",
    layout: Annotated[str, typer.Option(help="NCHW, or NHWC: channels last, as Keras has it.")] = "NCHW",
    colours: Annotated[str, typer.Option(help="RGB, or BGR as OpenCV reads it.")] = "RGB",
    value_range: Annotated[str | None, typer.Option(help="low,high that 0 and 1 become for the network.")] = None,
    mean: Annotated[str | None, typer.Option(help="Then subtracted, one for all or one per channel.")] = None,
    deviation: Annotated[str | None, typer.Option(help="Then divided by, one for all or one per channel.")] = None,
    normalise: Annotated[
        str, typer.Option(help="none, imagenet, z-score or min-max of each image, z-score-foreground.")
    ] = "none",
    dtype: Annotated[str, typer.Option(help="Type of the tensor: float32, float16, float64 or uint8.")] = "float32",
    activation: Annotated[
        str, typer.Option(help="softmax, sigmoid, none, log, share, or auto: look at its answers.")
    ] = "auto",
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Classes are independent labels.")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            help="What its outputs are: logits, sigmoid-logits, probabilities, log-probabilities or quantised; without "
            "classes: value, risk or survival; or which one is meant, by name, key or number; or both, KEY:logits."
        ),
    ] = None,
    unit: Unit = None,
    value_limits: Range = None,
    higher_is: HigherIs = None,
    reference: Reference = None,
    spread: Spread = None,
    tolerance: Tolerance = None,
    category: Categories = None,
    measures: Measures = None,
    times: Times = None,
    horizon: Horizon = None,
    time_unit: TimeUnit = None,
    reading: ReadingOption = None,
    population: Population = None,
    baseline: Baseline = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="CLASS=0.3: the probability from which a class is predicted; repeatable.")
    ] = None,
    input_name: Annotated[str | None, typer.Option("--input", help="Of several inputs of an ONNX model.")] = None,
    fill: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of another input; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    trust_code: Trust = False,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Make a bundle of a bare model, and test it with artificial images."""
    from otherwise.blackbox.bundle import short_version
    from otherwise.blackbox.importing import import_classifier
    from otherwise.blackbox.output_kind import describe_kind
    from otherwise.cli.options.input_contract import read_contract, read_fill, read_thresholds

    names = read_names(classes or "")
    kind = read_output_kind(
        output,
        names,
        unit=unit,
        value_range=value_limits,
        higher_is=higher_is,
        reference=reference,
        spread=spread,
        tolerance=tolerance,
        categories=category or [],
        measures=measures,
        times=times,
        horizon=horizon,
        time_unit=time_unit,
        reading=reading,
        population=population,
        baseline=baseline,
    )
    contract = read_contract(
        size=size,
        channels=channels,
        spacing=spacing,
        intensity=intensity,
        modality=modality,
        patches=read_patches(find, foreground, overlap, share),
        axes=axes,
        orientation=orientation,
        fit=fit,
        interpolation=interpolation,
        grey=grey,
        layout=layout,
        colours=colours,
        value_range=value_range,
        mean=mean,
        deviation=deviation,
        normalise=normalise,
        dtype=dtype,
    )
    imported = import_classifier(
        model,
        out,
        classes=names,
        inputs=contract.inputs,
        answer=kind,
        tensor=contract.tensor,
        activation=activation,
        multi_label=multi_label,
        output=output,
        thresholds=read_thresholds(threshold or [], names, multi_label),
        input_name=input_name,
        fill=read_fill(fill or []),
        name=name,
        trust_code=trust_code,
        replace=replace,
    )
    notes = {"assumed": (*contract.assumed, *assumed_of(kind, reference, spread)), "found": imported.found}
    if as_json:
        content = {"bundle": str(out), "version": imported.version, "activation": imported.activation}
        typer.echo(json.dumps({**content, **notes}))
        return
    version = short_version(imported.version)
    answer = describe_kind(kind) if kind.is_value else f"activation {imported.activation}"
    typer.echo(f"{out}: {imported.bundle.name}, version {version}, {answer}.")
    for title, sentences in notes.items():
        for sentence in sentences:
            typer.echo(f"{title.capitalize()}: {sentence}")
    typer.echo(f"See whether it can be hosted: otherwise classifier check {out}")
    typer.echo("Compare it with your own pipeline there: --images DIR --expected answers.csv")
