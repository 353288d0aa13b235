"""One run of ``otherwise train agent``: prepare, train with checkpoints, validate, write the bundle."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from otherwise.agent.bundle import Agent, round_weights, write_agent
from otherwise.agent.calibration import Calibration
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.training.calibration import calibrate
from otherwise.agent.training.data import TrainingImages, Views, prepare_images
from otherwise.agent.training.distributed import Processes
from otherwise.agent.training.trainer import LossError, Losses, Trainer, TrainingSettings
from otherwise.agent.training.validation import Figures, agreement, reconstruction_error, validate
from otherwise.blackbox.bundle import refuse_existing
from otherwise.blackbox.model_card import machine_class
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import AgentError
from otherwise.images.listing import FoundImage

SAVE_SECONDS = 60.0
"""Training time between two checkpoints."""
LOG_SECONDS = 15.0
"""Between two lines in a log file."""
WATCH_SECONDS = 180.0
"""Training time between two looks at the held-out images."""


@dataclass(frozen=True)
class TrainingSession:
    """The options of a training, from the command line."""

    classifier: BlackBox
    images: Path | tuple[Path | FoundImage, ...]
    out: Path
    architecture: Architecture
    settings: TrainingSettings
    epochs: float | None
    device: str
    resume: bool
    replace: bool
    threads: int | None
    name: str
    command: str
    views: Views | None = None
    """What the classifier sees of an image; None: the whole of it."""
    start: Agent | None = None
    """An agent whose weights are begun with; its architecture is then the one."""

    @property
    def folder(self) -> Path:
        """Return the folder of checkpoint, prepared images and TensorBoard logs, beside the bundle."""
        return self.out.with_name(self.out.name + ".training")

    @property
    def checkpoint(self) -> Path:
        """Return the path of the last good checkpoint."""
        return self.folder / "checkpoint.pt"


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
        if session.epochs is not None:
            steps = math.ceil(session.epochs * len(data.train) / (settings.batch * processes.count))
            settings = replace(settings, steps=max(1, steps))
        torch.manual_seed(settings.seed)
        model = _beginning(session)
        trainer = Trainer(model, session.classifier, data.train, settings, device, processes)
        if session.resume:
            trainer.resume(session.checkpoint)
            if trainer.fraction >= 1:
                bar.console.print(f"Nothing is left to train: the checkpoint has {trainer.step} steps already.")
        watch = _Watch(session, trainer, data, bar)
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
            _finish(session, trainer, data, bar)
        processes.wait()
    return True


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


def _beginning(session: TrainingSession) -> DiffusionAutoencoder:
    if session.start is None:
        return DiffusionAutoencoder(session.architecture)
    inputs, known = session.classifier.inputs, session.start.model.architecture
    if known.size != tuple(inputs.size) or known.classes != len(session.classifier.classes):
        raise AgentError(
            f"Agent {session.start.name} is made for images of {known.size} and {known.classes} classes.",
            "Begin with an agent of this classifier, or of one for the same images and classes.",
        )
    model = DiffusionAutoencoder(known)
    model.load_state_dict(session.start.model.state_dict())
    return model


class _Watch:
    """Progress bar and logs after each step; checkpoints and validation at intervals."""

    def __init__(self, session: TrainingSession, trainer: Trainer, data: TrainingImages, bar: Progress) -> None:
        self.session, self.trainer, self.data, self.bar = session, trainer, data, bar
        self.task = bar.add_task("train", total=1.0)
        self.saved = self.watched = trainer.seconds
        self.said = -math.inf
        self.log = SummaryWriter(str(session.folder / "tensorboard")) if trainer.processes.rank == 0 else None

    def __call__(self, trainer: Trainer, losses: Losses) -> None:
        text = f"step {trainer.step} flow {losses.flow:.4f} student {losses.student:.4f}"
        self.bar.update(self.task, completed=trainer.fraction, description=text)
        self._say_in_log(f"{100 * min(1.0, trainer.fraction):.0f} % {text}")
        if self.log is not None and trainer.step % 10 == 0:
            self.log.add_scalar("loss/flow", losses.flow, trainer.step)
            self.log.add_scalar("loss/student", losses.student, trainer.step)
        if trainer.seconds - self.saved > SAVE_SECONDS:
            self.save()
        if self.log is not None and trainer.seconds - self.watched > WATCH_SECONDS:
            self.watched = trainer.seconds
            agent = _agent(self.session, trainer)
            self.log.add_scalar("held out/agreement", self._agreement(agent), trainer.step)
            error = reconstruction_error(agent, self.session.classifier, self.data.held_out[:16])
            self.log.add_scalar("held out/l1", error, trainer.step)
            self.log.flush()

    def _say_in_log(self, text: str) -> None:
        """Print a line now and then where standard error is no terminal, on which a bar would appear at the end."""
        if not self.bar.disable and not self.bar.console.is_terminal and time.monotonic() - self.said > LOG_SECONDS:
            self.said = time.monotonic()
            self.bar.console.print(text, soft_wrap=True)

    def _agreement(self, agent: Agent) -> float:
        share = agreement(agent, self.session.classifier, self.data.held_out)
        self.bar.console.print(f"step {self.trainer.step}: held-out agreement {share:.3f}")
        return share

    def save(self) -> None:
        self.saved = self.trainer.seconds
        if self.trainer.processes.rank == 0:
            self.trainer.save(self.session.checkpoint)


def _agent(session: TrainingSession, trainer: Trainer) -> Agent:
    model, noise = trainer.average.eval(), session.settings.student_noise
    return Agent(model, session.name, "", session.classifier.version, trainer.device, noise)


def _bar(processes: Processes) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=processes.rank != 0)


def _prepare(session: TrainingSession, processes: Processes, bar: Progress) -> TrainingImages:
    task = bar.add_task("read images", total=1.0)

    def read() -> TrainingImages:
        return prepare_images(
            session.images,
            session.classifier.inputs,
            session.folder / "images.npy",
            lambda part: bar.update(task, completed=part),
            views=session.views,
        )

    # Rank 0 prepares; the others then find the work done.
    data = read() if processes.rank == 0 else None
    processes.wait()
    data = data or read()
    bar.update(task, completed=1.0)
    if data.skipped:
        first = data.skipped[0]
        bar.console.print(f"{len(data.skipped)} images were left out, the first because: {first}", soft_wrap=True)
    return data


def _finish(session: TrainingSession, trainer: Trainer, data: TrainingImages, bar: Progress) -> None:
    round_weights(trainer.average)
    agent = _agent(session, trainer)
    task = bar.add_task("validate", total=1.0)

    def measure(calibration: Calibration) -> Figures:
        return validate(
            replace(agent, calibration=calibration),
            session.classifier,
            data.held_out,
            progress=lambda stage, part: bar.update(task, completed=part),
        )

    calibration = calibrate(agent, session.classifier, data.train, data.held_out)
    figures = measure(replace(calibration, evidence_validity=None))  # the student guides
    calibration = replace(calibration, student_change=figures.changed_l1)
    if calibration.edits_by_flow:
        figures = measure(calibration)
    card = _card(session, trainer, len(data.train), figures, calibration)
    write_agent(
        session.out,
        trainer.average,
        session.classifier,
        name=session.name,
        card=card,
        figures=figures.to_dict(),
        student_noise=session.settings.student_noise,
        calibration=calibration,
        replace=session.replace,
    )


def _steps(trainer: Trainer) -> str:
    """Return how many steps were taken with how many images each: ``4 steps of 8, then 2 of 16``."""
    parts = [(steps, batch) for batch, steps in trainer.taken if steps]
    first, *others = parts or [(0, trainer.settings.batch * trainer.processes.count)]
    return ", then ".join([f"{first[0]} steps of {first[1]}", *(f"{steps} of {batch}" for steps, batch in others)])


def _card(session: TrainingSession, trainer: Trainer, images: int, figures: Figures, calibration: Calibration) -> str:
    parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    rows = {
        "Explains": f"{session.classifier.name}, version `{session.classifier.version[:16]}`",
        "Networks": f"diffusion autoencoder with linear student, {parameters:.2f} million parameters",
        "Command": f"`{session.command}`",
        "Seed": str(session.settings.seed),
        "Training": f"{images} images without labels, {_steps(trainer)}, {session.settings.precision}",
        "Time": f"{trainer.seconds / 60:.1f} minutes on {machine_class(str(trainer.device))}, "
        f"{torch.get_num_threads()} threads, {trainer.processes.count} process(es)",
        "Held-out images": str(figures.images),
        "Validity on the black box": f"{figures.validity:.3f}",
        "Student-teacher agreement": f"{figures.agreement:.3f}",
        "Reconstruction L1": f"{figures.reconstruction_l1:.4f} of the intensity window",
    }
    if figures.changed_l1 is not None:
        rows["Mean change of a counterfactual (L1)"] = f"{figures.changed_l1:.4f} of the intensity window"
    rows |= {
        f"Convincing probability of {name}": f"{value:.3f}, the black box's median on real images that it calls so"
        for name, value in zip(session.classifier.classes, calibration.convincing, strict=True)
        if value is not None
    }
    if calibration.evidence_validity is not None:
        rows["Other classes drawn by the decoder alone"] = f"{calibration.evidence_validity:.2f} of held-out images"
    return "\n".join(
        [
            f"# {session.name}",
            "",
            "A counterfactual agent. For research only; not for clinical use. After DiffExplainer (arXiv 2406.15182).",
            "",
            "| | |",
            "|---|---|",
            *(f"| {title} | {text} |" for title, text in rows.items()),
            "",
            "The weights are the running average of the training. The black box alone decides what is valid.",
        ]
    )
