"""``otherwise classifier import | check | train``: make, examine and train black boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.contract import UsageError, read_names, read_numbers, read_patches, read_size
from otherwise.cli.progress import shown
from otherwise.cli.source import image_source, is_address, named_images

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import InputSpec
    from otherwise.blackbox.training.labelled_images import LabelledImages
    from otherwise.blackbox.training.trainer import Recipe

EXIT_NOT_HOSTABLE = 1
"""The classifier was looked at, and cannot be hosted."""

Size = Annotated[str, typer.Option(help="Voxels along each axis: columns,rows or columns,rows,slices.")]
Intensity = Annotated[str, typer.Option(help="low,high in the image's own units, mapped to 0..1.")]
Spacing = Annotated[str | None, typer.Option(help="Millimetres along each axis; without: whole field of view.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of an image.")]
Modality = Annotated[str, typer.Option(help="DICOM modality, such as MG or CT.")]
Find = Annotated[
    str | None, typer.Option(help="It looks at patches of larger images: the classes worth finding there, a,b.")
]
Foreground = Annotated[
    float | None, typer.Option(help="With --find: only patches with values above this are looked at.")
]
Overlap = Annotated[
    float | None, typer.Option(help="With --find: share of its edge that a patch has in common with the next. [0.5]")
]
Tissue = Annotated[float | None, typer.Option("--share", help="With --find: least share of tissue in a patch. [0.25]")]
Trust = Annotated[bool, typer.Option("--trust-code", help="Allow Python code that the bundle brings or names.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an existing bundle.")]
AUGMENTATION = {"noise": 0.2, "blur": 1.2, "contrast": 0.3, "shift": 0.06, "turn": 10.0, "zoom": 0.05}
"""The defaults of ``augmentation.Augmentation``; a test compares them, since importing it here would import PyTorch."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="Where PyTorch runs it: cpu, cuda, cuda:1, auto.")]


class Network(StrEnum):
    """Which of ``small_networks.NETWORKS``."""

    small = "small"
    dense = "dense"
    plain = "plain"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Import, check or train a classifier.", no_args_is_help=True)
    app.add_typer(group, name="classifier")
    group.command("import")(import_)
    group.command("check")(check)
    group.command("train")(train)


def import_(
    model: Annotated[
        str,
        typer.Argument(help="TorchScript, .pt2 or ONNX file, package.module:function, or http://.../v2/models/NAME."),
    ],
    classes: Annotated[str, typer.Option(help="Class names in the order of the outputs: a,b.")],
    size: Size,
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
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
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Each class is a yes or no of its own.")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            help="What its outputs are: logits, sigmoid-logits, probabilities, log-probabilities or quantised; or "
            "which one is meant, by name, key or number; or both, KEY:logits."
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="CLASS=0.3: the probability from which a class is said; repeatable.")
    ] = None,
    input_name: Annotated[str | None, typer.Option("--input", help="Of several inputs of an ONNX model.")] = None,
    fill: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of another input; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    trust_code: Trust = False,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Make a bundle of a bare model, and ask it once."""
    from otherwise.blackbox.bundle import short_version
    from otherwise.blackbox.importing import import_classifier
    from otherwise.cli.contract import read_contract, read_fill, read_thresholds

    names = read_names(classes)
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
    notes = {"assumed": contract.assumed, "found": imported.found}
    if as_json:
        content = {"bundle": str(out), "version": imported.version, "activation": imported.activation}
        typer.echo(json.dumps({**content, **notes}))
        return
    version = short_version(imported.version)
    typer.echo(f"{out}: {imported.bundle.name}, version {version}, activation {imported.activation}.")
    for title, sentences in notes.items():
        for sentence in sentences:
            typer.echo(f"{title.capitalize()}: {sentence}")
    typer.echo(f"See whether it can be hosted: otherwise classifier check {out}")
    typer.echo("Compare it with your own pipeline there: --images DIR --expected answers.csv")


def check(
    bundle: Annotated[str, typer.Argument(help="Bundle, or the name of a shipped one.")],
    images: Annotated[
        Path | None, typer.Option(help="Images to ask it about: folder, file, CSV or DICOMweb.", parser=image_source)
    ] = None,
    expected: Annotated[
        Path | None, typer.Option(help="CSV with the answers of your own pipeline: id or path, and each class.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="HTML page of what the network sees; with --expected: beside its CSV.")
    ] = None,
    slice_index: Annotated[int | None, typer.Option("--slice", help="For a 2-D classifier and volumes.")] = None,
    device: Device = "cpu",
    trust_code: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Say in words whether a classifier can be hosted, and answers as expected; exit code 1 if not."""
    from otherwise.blackbox.checks.report import Comparison, check_classifier

    if images is None and (expected or page):
        raise UsageError("--expected and --page need the images.", "Give --images DIR.")
    if expected is not None and page is None:
        page = expected.with_name(f"{expected.stem}-seen.html")
    comparison = Comparison(expected, page, slice_index)
    report = check_classifier(bundle, images, device=device, trust_code=trust_code, comparison=comparison)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        for finding in report.findings:
            typer.echo(f"{finding.state:8} {finding.topic:11} {finding.text}")
        typer.secho(report.verdict, fg=typer.colors.GREEN if report.hostable else typer.colors.RED)
    if not report.hostable:
        raise typer.Exit(EXIT_NOT_HOSTABLE)


def train(
    images: Annotated[
        str,
        typer.Option(metavar="PATH", help="Folder of images; or a DICOMweb address, of which the table names UIDs."),
    ],
    labels: Annotated[
        Path, typer.Option(help="CSV with columns id,file,label; patient keeps a patient's images together.")
    ],
    size: Size,
    intensity: Intensity,
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    classes: Annotated[
        str | None, typer.Option(help="Class names in the order wanted: a,b. Default: alphabetical.")
    ] = None,
    spacing: Spacing = None,
    channels: Channels = 1,
    modality: Modality = "OT",
    find: Find = None,
    foreground: Foreground = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 20,
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Add noise, white or streaky, of up to this share of the range.")
    ] = AUGMENTATION["noise"],
    blur: Annotated[float, typer.Option(min=0, help="Blur images by up to so many voxels.")] = AUGMENTATION["blur"],
    contrast: Annotated[
        float, typer.Option(min=0, max=0.9, help="Stretch or flatten grey values by up to this share.")
    ] = AUGMENTATION["contrast"],
    shift: Annotated[
        float, typer.Option(min=0, max=0.5, help="Move images by up to this share of each edge.")
    ] = AUGMENTATION["shift"],
    turn: Annotated[
        float, typer.Option(min=0, max=180, help="Turn images by up to so many degrees; 180 where none is upright.")
    ] = AUGMENTATION["turn"],
    zoom: Annotated[
        float, typer.Option(min=0, max=0.5, help="Make images larger or smaller by up to this share.")
    ] = AUGMENTATION["zoom"],
    coarse: Annotated[
        bool, typer.Option("--coarse/--fine", help="Look at half the images' resolution, or at each voxel.")
    ] = True,
    network: Annotated[Network, typer.Option(help="Its build.")] = Network.small,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    device: Device = "cpu",
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    validation_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Part held out to choose the epoch.")
    ] = 0.2,
    validation: Annotated[
        Path | None, typer.Option(help="Folder with labels.csv to choose the epoch by, instead of a part held out.")
    ] = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Train a small classifier on labelled images. Ctrl-C keeps the best epoch so far.

    Images are disturbed at random (noise, blur, contrast, shifts, mirrors), so that the classifier does not go by
    their grain; 0 leaves a disturbance out. The model card says how robust the result is.
    """
    from otherwise.blackbox.bundle import refuse_existing
    from otherwise.blackbox.training.augmentation import Augmentation
    from otherwise.blackbox.training.small_networks import NETWORKS
    from otherwise.blackbox.training.trainer import Recipe, train_classifier

    refuse_existing(out, replace)
    inputs = _inputs(size, intensity, spacing, channels, modality, find, foreground)
    data = _read(images, labels, inputs, classes)
    if inputs.patches is not None:
        inputs.patches.check(data.classes)
    if validation is None:
        training, held_out = data.split(validation_share, seed)
    else:
        training, held_out = data, _read(validation, validation / "labels.csv", inputs, ",".join(data.classes))
    augmentation = Augmentation(noise=noise, blur=blur, contrast=contrast, shift=shift, turn=turn, zoom=zoom)
    recipe = Recipe(epochs=epochs, coarse=coarse, augmentation=augmentation, seed=seed)
    finished = 0
    with shown("Training") as advance:

        def progress(epoch: int, epochs: int, figures: dict[str, float]) -> None:
            nonlocal finished
            finished = epoch
            summary = f"AUC {figures['auc']:.3f}, best {figures['best_auc']:.3f}"
            advance(f"Epoch {epoch} of {epochs}: {summary}", epoch / epochs)

        try:
            figures = train_classifier(
                training.images,
                training.labels,
                data.classes,
                inputs,
                out,
                validation=(held_out.images, held_out.labels),
                recipe=recipe,
                network=NETWORKS[network.value](inputs, len(data.classes)),
                device=device,
                name=name,
                progress=progress,
                command=_command(
                    images,
                    labels,
                    inputs,
                    data.classes,
                    recipe,
                    network,
                    f"--validation {validation.name}" if validation else f"--validation-share {validation_share:g}",
                    device,
                    out,
                ),
                replace=replace,
            )
        except KeyboardInterrupt:
            kept = f"the best epoch so far is in {out}" if finished else "nothing was written"
            typer.echo(f"otherwise: interrupted; {kept}.", err=True)
            raise
    if as_json:
        typer.echo(json.dumps({"bundle": str(out), **figures}))
    else:
        summary = ", ".join(f"{key} {figures[key]:.3f}" for key in ("auc", "accuracy", "brier"))
        typer.echo(f"{out}: {summary} on {len(held_out.labels)} held-out images, {figures['minutes']:g} minutes.")
        typer.echo(f"Noise of a tenth of the range changes {100 * figures['grain']:.0f} % of its answers there.")


def _read(images: str | Path, labels: Path, inputs: InputSpec, classes: str | None) -> LabelledImages:
    from otherwise.blackbox.training.labelled_images import read_labelled

    with shown("Reading images") as advance:
        return read_labelled(
            named_images(str(images)),
            labels,
            inputs,
            read_names(classes) if classes else None,
            lambda done, total: advance("", done / total),
        )


def _command(
    images: str,
    labels: Path,
    inputs: InputSpec,
    names: Sequence[str],
    recipe: Recipe,
    network: Network,
    chosen_by: str,
    device: str,
    out: Path,
) -> str:
    """Write the command for the model card: names of files and folders, but not where on this machine they are."""
    spacing = f" --spacing {_joined(inputs.spacing)}" if inputs.spacing else ""
    found = f" --find {','.join(inputs.patches.wanted)}" if inputs.patches else ""
    if inputs.patches and inputs.patches.foreground is not None:
        found += f" --foreground={inputs.patches.foreground:g}"
    disturbed = " ".join(f"--{kind} {level:g}" for kind, level in asdict(recipe.augmentation).items())
    fine = "" if recipe.coarse else " --fine"
    build = "" if network is Network.small else f" --network {network}"
    folder = Path(images)
    inside = not is_address(images) and labels.resolve().is_relative_to(folder.resolve())
    table = Path(folder.name, labels.resolve().relative_to(folder.resolve())) if inside else Path(labels.name)
    return (
        f"otherwise classifier train --images {folder.name} --labels {table.as_posix()} --classes {','.join(names)}"
        f" --size {_joined(inputs.size)} --intensity={_joined(inputs.intensity)}{spacing} --channels {inputs.channels}"
        f" --modality {inputs.modality}{found} --epochs {recipe.epochs} {disturbed}{fine}{build} {chosen_by}"
        f" --seed {recipe.seed} --device {device} --out {out.name}"
    )


def _joined(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _inputs(
    size: str,
    intensity: str,
    spacing: str | None,
    channels: int,
    modality: str,
    find: str | None,
    foreground: float | None,
) -> InputSpec:
    """Return what a classifier that is trained here wants; volumes are turned to LPS, as DICOM has them."""
    from otherwise.blackbox.protocol import InputSpec

    edges = read_size(size)
    low, high = read_numbers("--intensity", intensity, 2)
    steps = read_numbers("--spacing", spacing, len(edges)) if spacing else None
    turns = "LPS" if len(edges) == 3 else None
    return InputSpec(edges, channels, steps, (low, high), modality, read_patches(find, foreground), orientation=turns)
