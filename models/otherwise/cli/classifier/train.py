"""``otherwise classifier train``: train a small network on labelled images."""

from __future__ import annotations

import json
from dataclasses import asdict
from dataclasses import replace as replace_task
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.classifier.options import (
    AsJson,
    Channels,
    Device,
    Find,
    Foreground,
    HigherIs,
    Horizon,
    Intensity,
    Measures,
    Modality,
    Range,
    Replace,
    Size,
    Spacing,
    Times,
    TimeUnit,
    Tolerance,
    Unit,
)
from otherwise.cli.classifier.training_task import (
    Survival,
    Value,
    read_task,
)
from otherwise.cli.options.image_source import is_address
from otherwise.cli.options.input_contract import read_numbers, read_patches, read_size
from otherwise.cli.progress import shown
from otherwise.errors import BundleError

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import InputSpec
    from otherwise.blackbox.training.trainer import Recipe


AUGMENTATION = {"noise": 0.2, "blur": 1.2, "contrast": 0.3, "shift": 0.06, "turn": 10.0, "zoom": 0.05}
"""Defaults of ``augmentation.Augmentation``, repeated here to avoid the import of PyTorch; a test compares them."""


class Network(StrEnum):
    """Name of a network in ``small_networks.NETWORKS``."""

    small = "small"
    dense = "dense"
    plain = "plain"


def train(
    images: Annotated[
        str,
        typer.Option(metavar="PATH", help="Folder of images, or a DICOMweb address; the table then names UIDs."),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            help="CSV with columns id,file,label; patient keeps a patient's images together. With --value or "
            "--survival: with those columns instead of label."
        ),
    ],
    size: Size,
    intensity: Intensity,
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    classes: Annotated[
        str | None, typer.Option(help="Class names in the order wanted: a,b. Default: alphabetical.")
    ] = None,
    value: Value = None,
    unit: Unit = None,
    value_range: Range = None,
    survival: Survival = None,
    times: Times = None,
    horizon: Horizon = None,
    time_unit: TimeUnit = None,
    measures: Measures = None,
    higher_is: HigherIs = None,
    tolerance: Tolerance = None,
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
    network: Annotated[Network, typer.Option(help="Architecture.")] = Network.small,
    start: Annotated[
        str | None,
        typer.Option(help="Begin with network and weights of this classifier: a bundle, or the name of a shipped one."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Device = "cpu",
    name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    validation_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Part held out to choose the epoch.")
    ] = 0.2,
    validation: Annotated[
        Path | None, typer.Option(help="Folder with labels.csv to choose the epoch by, instead of a part held out.")
    ] = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Train a small network on labelled images. Ctrl-C keeps the best epoch so far.

    It learns classes, a number of the table (--value), or survival by discrete hazards (--survival). Images are
    disturbed at random (noise, blur, contrast, shifts, mirrors), so that it does not rely on grain; 0 leaves a
    disturbance out. A length or an area needs --zoom 0. The model card says how robust the result is.
    """
    from otherwise.blackbox.bundle import refuse_existing
    from otherwise.blackbox.concern import check_wanted
    from otherwise.blackbox.training.augmentation import Augmentation
    from otherwise.blackbox.training.small_networks import NETWORKS
    from otherwise.blackbox.training.starting_network import StartingNetwork, starting_network
    from otherwise.blackbox.training.trainer import Recipe, train_network
    from otherwise.blackbox.value_robustness import distance

    if start and network is not Network.small:
        raise BundleError("--start brings its own network.", "Leave out --network.")
    if start and value:
        raise BundleError("--start does not go with --value.", "Train classes or survival further, or begin anew.")
    refuse_existing(out, replace)
    task = read_task(
        classes=classes,
        value=value,
        unit=unit,
        value_range=value_range,
        survival=survival,
        times=times,
        horizon=horizon,
        time_unit=time_unit,
        measures=measures,
        higher_is=higher_is,
        tolerance=tolerance,
    )
    inputs = _inputs(size, intensity, spacing, channels, modality, find, foreground)
    data = task.read(images, labels, inputs)
    if validation is None:
        training, held_out = data.split(validation_share, seed)
    else:
        task = replace_task(task, classes=data.classes)
        training, held_out = data, task.read(validation, validation / "labels.csv", inputs)
    augmentation = Augmentation(noise=noise, blur=blur, contrast=contrast, shift=shift, turn=turn, zoom=zoom)
    recipe = Recipe(epochs=epochs, coarse=coarse, augmentation=augmentation, seed=seed)
    objective = task.objective(training, recipe.label_smoothing)
    if inputs.patches is not None:
        check_wanted(inputs.patches, objective.classes, False, objective.answer)
    beginning = (
        starting_network(start, inputs, objective.outputs)
        if start
        else StartingNetwork(NETWORKS[network.value](inputs, objective.outputs))
    )
    finished, main = 0, objective.shown[0]
    with shown("Training") as advance:

        def progress(epoch: int, epochs: int, figures: dict[str, float]) -> None:
            nonlocal finished
            finished = epoch
            summary = f"{main} {figures[main]:.3f}, best {figures[f'best_{main}']:.3f}"
            advance(f"Epoch {epoch} of {epochs}: {summary}", epoch / epochs)

        try:
            figures = train_network(
                (training.images, training.labels),
                objective,
                inputs,
                out,
                validation=(held_out.images, held_out.labels),
                recipe=recipe,
                network=beginning,
                device=device,
                name=name,
                progress=progress,
                command=_command(
                    images,
                    labels,
                    inputs,
                    task.typed or f"--classes {','.join(data.classes)}",
                    recipe,
                    f" --start {Path(start).name}" if start else _built(network),
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
        summary = ", ".join(f"{key} {figures[key]:.3f}" for key in objective.shown)
        typer.echo(f"{out}: {summary} on {len(held_out.labels)} held-out images, {figures['minutes']:g} minutes.")
        if objective.answer.is_value:
            moved = distance(figures["grain"], objective.answer.unit)
            typer.echo(f"Noise of a tenth of the range moves the {objective.answer.name} there by {moved} (median).")
        else:
            typer.echo(f"Noise of a tenth of the range changes {100 * figures['grain']:.0f} % of its answers there.")


def _command(
    images: str,
    labels: Path,
    inputs: InputSpec,
    learned: str,
    recipe: Recipe,
    build: str,
    chosen_by: str,
    device: str,
    out: Path,
) -> str:
    """Return the command for the model card, with names of files and folders but without their paths."""
    spacing = f" --spacing {_joined(inputs.spacing)}" if inputs.spacing else ""
    found = f" --find {','.join(inputs.patches.wanted)}" if inputs.patches else ""
    if inputs.patches and inputs.patches.foreground is not None:
        found += f" --foreground={inputs.patches.foreground:g}"
    disturbed = " ".join(f"--{kind} {level:g}" for kind, level in asdict(recipe.augmentation).items())
    fine = "" if recipe.coarse else " --fine"
    folder = Path(images)
    inside = not is_address(images) and labels.resolve().is_relative_to(folder.resolve())
    table = Path(folder.name, labels.resolve().relative_to(folder.resolve())) if inside else Path(labels.name)
    return (
        f"otherwise classifier train --images {folder.name} --labels {table.as_posix()} {learned}"
        f" --size {_joined(inputs.size)} --intensity={_joined(inputs.intensity)}{spacing} --channels {inputs.channels}"
        f" --modality {inputs.modality}{found} --epochs {recipe.epochs} {disturbed}{fine}{build} {chosen_by}"
        f" --seed {recipe.seed} --device {device} --out {out.name}"
    )


def _built(network: Network) -> str:
    """Return the option of a network for the model card; the default needs none."""
    return "" if network is Network.small else f" --network {network}"


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
    """Return the input specification of the classifier; volumes are turned to LPS, as in DICOM."""
    from otherwise.blackbox.protocol import InputSpec

    edges = read_size(size)
    low, high = read_numbers("--intensity", intensity, 2)
    steps = read_numbers("--spacing", spacing, len(edges)) if spacing else None
    turns = "LPS" if len(edges) == 3 else None
    return InputSpec(edges, channels, steps, (low, high), modality, read_patches(find, foreground), orientation=turns)
