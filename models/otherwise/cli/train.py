"""``otherwise train agent``: train a counterfactual agent by a classifier's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.options.image_listing import Verbose, list_for
from otherwise.cli.options.image_source import image_source
from otherwise.errors import AgentError

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands."""
    train = typer.Typer(help="Train what the server hosts.", no_args_is_help=True)
    app.add_typer(train, name="train")

    @train.command("agent")
    def agent(
        classifier: Annotated[str, typer.Option(help="The black box: a bundle folder or the name of a shipped one.")],
        images: Annotated[
            Path,
            typer.Option(help="Folder, CSV with files, or DICOMweb; no label is read.", parser=image_source),
        ],
        out: Annotated[Path, typer.Option(help="The agent's bundle.")],
        minutes: Annotated[
            float | None,
            typer.Option(help="Stop after so many minutes of training; default: as many steps as the images need."),
        ] = None,
        epochs: Annotated[float | None, typer.Option(help="Stop after so many passes over the images.")] = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
        resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
        replace: Annotated[bool, typer.Option("--replace", help="Replace an existing bundle.")] = False,
        batch: Annotated[int, typer.Option(help="Images a step and process.")] = 16,
        learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 6e-4,
        channels: Annotated[
            str | None,
            typer.Option(
                help="Denoiser's widths per level, such as 64,96,128; default: follow from the images' size and number."
            ),
        ] = None,
        patch: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="Edge of the cubes folded into channels, a power of two; default: follows from the size.",
            ),
        ] = None,
        prediction: Annotated[
            str | None,
            typer.Option(
                help="What the denoiser predicts: velocity or image; default: image, where a folded cube has as many "
                "voxels as the first of --channels, or more."
            ),
        ] = None,
        latent: Annotated[int, typer.Option(help="Width of the semantic latent.")] = 128,
        student_first: Annotated[
            float, typer.Option(help="Share of the training in which the student learns alone: 0.2 helps in 3-D.")
        ] = 0.0,
        student_noise: Annotated[
            float,
            typer.Option(help="The student learns to see through so much noise: 0.9 makes 3-D plausible."),
        ] = 0.0,
        decoder_only: Annotated[
            bool,
            typer.Option("--decoder-only", help="Train only the decoder, and keep the student of --start."),
        ] = False,
        focus: Annotated[
            float, typer.Option(help="Share of the decoder's loss that lies where the student looks, below 1.")
        ] = 0.0,
        moved_views: Annotated[
            int,
            typer.Option(
                help="Views of each image with the field of view moved at random within it, beside the usual one: "
                "for classifiers with a spacing, and images that are larger than the field."
            ),
        ] = 0,
        mirror: Annotated[str, typer.Option(help="Axes along which a mirrored image is as good: i or i,j.")] = "",
        precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
        threads: Annotated[int | None, typer.Option(help="CPU threads; default: all.")] = None,
        seed: Annotated[int, typer.Option(help="Same seed, same agent (with --epochs).")] = 0,
        start: Annotated[
            str | None,
            typer.Option(
                help="Begin with the weights of this agent, of any classifier and size of images. "
                "With another --channels, --patch or --prediction the decoder begins anew."
            ),
        ] = None,
        start_share: Annotated[
            float,
            typer.Option(
                help="Share of the weights of --start in the mean that is written, from 0 to less than 1: "
                "between what it could and what it learned."
            ),
        ] = 0.0,
        name: Annotated[str | None, typer.Option(help="Display name.")] = None,
        trust_code: Annotated[bool, typer.Option(help="Allow the classifier to run its own Python code.")] = False,
        verbose: Verbose = False,
    ) -> None:
        """Train a diffusion autoencoder and its student; the classifier's probabilities are the only teacher."""
        import dataclasses

        import numpy as np

        from otherwise.agent.bundle import load_agent
        from otherwise.agent.networks import Architecture
        from otherwise.agent.training.defaults import default_patch
        from otherwise.agent.training.moved_views import moved_views as with_moved_views
        from otherwise.agent.training.run_options import TrainingSession
        from otherwise.agent.training.session import run_session
        from otherwise.agent.training.trainer import TrainingSettings
        from otherwise.blackbox.hosts.pytorch import check_device
        from otherwise.blackbox.loading import load_classifier
        from otherwise.finding.patches import patches_to_learn_from

        if decoder_only and not start:
            raise AgentError("--decoder-only needs a student that has learned.", "Give --start AGENT.")
        place = str(check_device(device))
        beginning = load_agent(start, device=place) if start else None
        box = load_classifier(classifier, device=place, trust_code=trust_code)
        sizes = (
            beginning.model.architecture
            if beginning
            else Architecture(
                spatial_dims=box.inputs.spatial_dims,
                size=tuple(box.inputs.size),
                image_channels=box.inputs.channels,
                classes=len(box.classes),
                latent=latent,
                patch=default_patch(box.inputs.size),
                channels=(64, 96, 128),
            )
        )
        architecture = dataclasses.replace(
            sizes,
            patch=patch or sizes.patch,
            channels=tuple(int(width) for width in channels.split(",")) if channels else sizes.channels,
            prediction=prediction or sizes.prediction,
        )
        rng = np.random.default_rng(seed)
        views = None
        if moved_views:
            views = with_moved_views(box.inputs, moved_views, rng)
        elif box.inputs.patches:
            views = patches_to_learn_from(box, rng)
        session = TrainingSession(
            classifier=box,
            images=list_for(images, verbose).images,
            out=out,
            architecture=architecture,
            settings=TrainingSettings(
                steps=None if minutes is not None and epochs is None else 1,
                minutes=minutes,
                batch=batch,
                learning_rate=learning_rate,
                precision=precision,
                student_first=student_first,
                student_noise=beginning.student_noise if beginning and decoder_only else student_noise,
                decoder_only=decoder_only,
                focus=focus,
                flips=_axes(mirror, box.inputs.spatial_dims),
                seed=seed,
            ),
            epochs=epochs,
            device=place,
            resume=resume,
            replace=replace,
            threads=threads,
            name=name or out.name,
            command=(
                f"otherwise train agent --classifier {Path(classifier).name} --images {images.name} --out {out.name}"
                f"{f' --minutes {minutes:g}' if minutes else ''}{f' --epochs {epochs:g}' if epochs else ''}"
                f" --batch {batch} --learning-rate {learning_rate:g}"
                f"{f' --channels {channels}' if channels else ''} --patch {architecture.patch}"
                f"{f' --prediction {prediction}' if prediction else ''}"
                f" --latent {latent}{f' --moved-views {moved_views}' if moved_views else ''}"
                f"{f' --mirror {mirror}' if mirror else ''}"
                f"{f' --student-first {student_first:g}' if student_first else ''}"
                f"{f' --student-noise {student_noise:g}' if student_noise else ''}"
                f"{' --decoder-only' if decoder_only else ''}{f' --focus {focus:g}' if focus else ''}"
                f" --precision {precision} --seed {seed}{f' --start {Path(start).name}' if start else ''}"
                f"{f' --start-share {start_share:g}' if start_share else ''}"
            ),
            views=views,
            start=beginning,
            start_share=start_share,
            default_widths=channels is None and beginning is None,
            default_prediction=prediction is None and beginning is None,
        )
        if not run_session(session):
            typer.echo("Stopped; the checkpoint is kept. Go on with --resume.", err=True)
            raise typer.Exit(INTERRUPTED)
        typer.echo(f"Agent: {out}")


def _axes(text: str, dimensions: int) -> tuple[int, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = "ijk"[:dimensions]
    if any(name not in tuple(known) for name in names):
        raise AgentError(f"--mirror {text!r} names no axes.", f"Give some of {','.join(known)}.")
    return tuple(known.index(name) for name in names)
