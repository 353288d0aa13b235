"""One run of ``otherwise train agent``: prepare, train with checkpoints, validate, write the bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.precision import Precision, emulates_bf16
from otherwise.agent.training.data import prepare_images
from otherwise.agent.training.defaults import default_steps
from otherwise.agent.training.distributed import Processes
from otherwise.agent.training.estimate import estimate
from otherwise.agent.training.examples import write_examples
from otherwise.agent.training.finishing import finish, trainer_agent
from otherwise.agent.training.grain import measured_grain
from otherwise.agent.training.holding_out import TrainingImages, hold_out
from otherwise.agent.training.run_options import TrainingSession
from otherwise.agent.training.trainer import LossError, Losses, Trainer
from otherwise.agent.training.validation import Agreement, agreement, reconstruction_error
from otherwise.blackbox.bundle import refuse_existing
from otherwise.errors import AgentError

SAVE_SECONDS = 60.0
"""Training time between two checkpoints."""
LOG_SECONDS = 15.0
"""Between two lines in a log file."""
WATCH_SECONDS = 180.0
"""Training time between two looks at the held-out images."""
EXAMPLE_SECONDS = 10.0
"""How long examples are searched for at each of these looks; one is drawn in any case."""


def run_session(session: TrainingSession) -> bool:
    """Train to the end and write the bundle.

    Returns:
        False if Ctrl-C stopped it; the checkpoint is then complete.

    Raises:
        OtherwiseError: if the images, the classifier, the checkpoint or the disk do not allow it.
    """
    _refuse_earlier_run(session)
    if session.threads:
        torch.set_num_threads(session.threads)
    processes = Processes.from_environment(session.device)
    device = torch.device(f"cuda:{processes.local_rank}" if session.device.startswith("cuda") else session.device)
    with _bar(processes) as bar:
        data = _prepare(session, processes, bar)
        settings = session.settings
        if settings.steps is not None:
            settings = replace(
                settings, steps=_steps(session.epochs, len(data.train), settings.batch * processes.count)
            )
        torch.manual_seed(settings.seed)
        model = _initial_model(session, data.train)
        trainer = Trainer(model, session.classifier, data.train, settings, device, processes)
        if session.resume:
            trainer.resume(session.checkpoint)
            if trainer.fraction >= 1:
                bar.console.print(f"Nothing is left to train: the checkpoint has {trainer.step} steps already.")
        if processes.rank == 0 and trainer.fraction < 1:
            if settings.precision == Precision.BF16 and emulates_bf16(device):
                bar.console.print(
                    "This CPU has no bf16 instructions: a step can take over ten times as long as in single precision. "
                    "Give --precision fp32.",
                    soft_wrap=True,
                )
            for sentence in estimate(trainer, session.resume or session.keeps_decoder).sentences:
                bar.console.print(sentence, soft_wrap=True)
            if session.start is not None and not session.keeps_decoder and not session.resume:
                bar.console.print(f"Encoder and student are those of {session.start.name}; the decoder begins anew.")
            if session.default_widths:
                bar.console.print(_widths(model, len(data.train)), soft_wrap=True)
        watch = _ProgressReport(session, trainer, data, bar)
        try:
            trainer.run(watch)
        except KeyboardInterrupt:
            watch.save()
            return False
        except LossError as error:
            if not session.checkpoint.is_file():
                raise
            raise LossError(
                error.detail, "Lower --learning-rate, and continue from the checkpoint with --resume."
            ) from error
        watch.save()
        if processes.rank == 0:
            finish(session, trainer, data, bar)
        processes.wait()
    return True


def training_images(
    session: TrainingSession, progress: Callable[[float], None] = lambda fraction: None
) -> TrainingImages:
    """Prepare the images of a training session, or reuse prepared ones, and hold some out.

    Raises:
        AgentError: if the images are too few, or all of one patient.
    """
    cache = session.folder / "images.npy"
    prepared = prepare_images(session.images, session.classifier.inputs, cache, progress, session.views)
    return hold_out(prepared, session.classifier)


def _widths(model: DiffusionAutoencoder, images: int) -> str:
    """Return the size of the networks in words, where it follows from the images."""
    known = model.architecture
    size, widths = " x ".join(map(str, known.size)), ",".join(map(str, known.channels))
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return (
        f"Networks of {weights:.1f} million weights, as {images:,} images of {size} can teach: "
        f"--channels {widths} --prediction {known.prediction}."
    )


def _steps(epochs: float | None, images: int, batch: int) -> int:
    """Return the steps of so many passes over the images; without a number as many as the images need."""
    return default_steps(images, batch) if epochs is None else max(1, math.ceil(epochs * images / batch))


def _refuse_earlier_run(session: TrainingSession) -> None:
    """Refuse to overwrite what an earlier run left: its bundle, or the checkpoint of one that did not end.

    Raises:
        OtherwiseError: naming the options that resume or restart.
    """
    if session.resume and not session.replace and session.out.exists():
        raise AgentError(f"{session.out.name} is finished.", "To train it further, give --resume --replace.")
    refuse_existing(session.out, session.replace)
    if session.checkpoint.is_file() and not session.resume and not session.replace:
        raise AgentError(
            f"An earlier run left a checkpoint in {session.folder.name}.",
            "Go on from it with --resume, or start over with --replace.",
        )


def _initial_model(session: TrainingSession, images: np.ndarray) -> DiffusionAutoencoder:
    """Return the networks to train on ``(n, channels, *size)`` images: new ones, or those of ``session.start``."""
    if session.start is None:
        return DiffusionAutoencoder(_with_grain(session.architecture_for(len(images)), images))
    inputs, known = session.classifier.inputs, session.start.model.architecture
    kind = (known.spatial_dims, known.image_channels, known.classes)
    if kind != (inputs.spatial_dims, inputs.channels, len(session.classifier.classes)):
        raise AgentError(
            f"Agent {session.start.name} is made for images of {known.spatial_dims} dimensions and "
            f"{known.image_channels} channel(s), and {known.classes} classes.",
            "Begin with an agent of as many dimensions, channels and classes as this classifier has.",
        )
    model = DiffusionAutoencoder(_with_grain(replace(session.architecture, size=tuple(inputs.size)), images))
    if session.keeps_decoder:
        model.load_state_dict(session.start.model.state_dict())
    else:
        model.encoder.load_state_dict(session.start.model.encoder.state_dict())
        model.student.load_state_dict(session.start.model.student.state_dict())
    return model


def _with_grain(architecture: Architecture, images: np.ndarray) -> Architecture:
    """Return the architecture with the grain measured in the images, if its denoiser predicts the image."""
    if architecture.prediction != "image":
        return architecture
    return replace(architecture, grain=measured_grain(images))


class _ProgressReport:
    """Progress bar and logs after each step; checkpoints and validation at intervals."""

    def __init__(self, session: TrainingSession, trainer: Trainer, data: TrainingImages, bar: Progress) -> None:
        self.session, self.trainer, self.data, self.bar = session, trainer, data, bar
        self.task = bar.add_task("train", total=1.0)
        self.saved = self.watched = trainer.seconds
        self.last_log = -math.inf
        self.log = SummaryWriter(str(session.folder / "tensorboard")) if trainer.processes.rank == 0 else None

    def __call__(self, trainer: Trainer, losses: Losses) -> None:
        text = f"step {trainer.step} flow {losses.flow:.4f} student {losses.student:.4f}"
        self.bar.update(self.task, completed=trainer.fraction, description=text)
        self._say_in_log(f"{100 * min(1.0, trainer.fraction):.0f} % {text}{_left(trainer)}")
        if self.log is not None and trainer.step % 10 == 0:
            self.log.add_scalar("loss/flow", losses.flow, trainer.step)
            self.log.add_scalar("loss/student", losses.student, trainer.step)
        if trainer.seconds - self.saved > SAVE_SECONDS:
            self.save()
        if self.log is not None and trainer.seconds - self.watched > WATCH_SECONDS:
            self.watched = trainer.seconds
            agent = trainer_agent(self.session, trainer)
            agreed = self._agreement(agent)
            self.log.add_scalar("held out/agreement", agreed.share, trainer.step)
            self.log.add_scalar("held out/balanced agreement", agreed.balanced, trainer.step)
            error = reconstruction_error(agent, self.session.classifier, self.data.held_out[:16])
            self.log.add_scalar("held out/l1", error, trainer.step)
            self.log.flush()
            self._draw_examples(agent)

    def _say_in_log(self, text: str) -> None:
        """Print a line now and then where standard error is no terminal, on which a bar would appear at the end."""
        if not self.bar.disable and not self.bar.console.is_terminal and time.monotonic() - self.last_log > LOG_SECONDS:
            self.last_log = time.monotonic()
            self.bar.console.print(text, soft_wrap=True)

    def _agreement(self, agent: Agent) -> Agreement:
        agreed = agreement(agent, self.session.classifier, self.data.held_out)
        self.bar.console.print(f"step {self.trainer.step}: {agreed.sentence}", soft_wrap=True)
        return agreed

    def _draw_examples(self, agent: Agent) -> None:
        path = self.session.folder / "examples.png"
        flips = write_examples(agent, self.session.classifier, self.data.held_out, path, EXAMPLE_SECONDS)
        self.bar.console.print(
            f"step {self.trainer.step}: {path.parent.name}/{path.name}, {flips} flip", soft_wrap=True
        )

    def save(self) -> None:
        self.saved = self.trainer.seconds
        if self.trainer.processes.rank == 0:
            self.trainer.save(self.session.checkpoint)


def _left(trainer: Trainer) -> str:
    """Return in words how much longer the training takes; empty at its very beginning."""
    if not 0.01 < trainer.fraction < 1:
        return ""
    return f", {trainer.seconds * (1 / trainer.fraction - 1) / 60:.1f} minutes left"


def _bar(processes: Processes) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=processes.rank != 0)


def _prepare(session: TrainingSession, processes: Processes, bar: Progress) -> TrainingImages:
    task = bar.add_task("read images", total=1.0)

    def read() -> TrainingImages:
        return training_images(session, lambda part: bar.update(task, completed=part))

    # Rank 0 prepares; the others then find the work done.
    data = read() if processes.rank == 0 else None
    processes.wait()
    data = data or read()
    bar.update(task, completed=1.0)
    if data.skipped:
        first = data.skipped[0]
        bar.console.print(f"{len(data.skipped)} images were left out, the first because: {first}", soft_wrap=True)
    for note in data.notes:
        bar.console.print(note, soft_wrap=True)
    return data
