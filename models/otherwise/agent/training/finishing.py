"""The end of a training: write the bundle at once, then validate it within a bounded time, and write the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from rich.progress import Progress

from otherwise.agent.bundle import Agent, round_weights, write_agent
from otherwise.agent.calibration import Calibration
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.agent.training.calibration import calibrate
from otherwise.agent.training.holding_out import TrainingImages
from otherwise.agent.training.run_options import TrainingSession
from otherwise.agent.training.trainer import Trainer
from otherwise.agent.training.validation import FEWEST_SEARCHED, Figures, validate
from otherwise.blackbox.model_card import machine_class

FEW_VALID, FEW_CONVINCED = 0.9, 0.8
"""Shares of the searched images below which the card says that the agent does not do its work."""
VALIDATION_SHARE = 0.25
"""Of the time asked for, or of that of the training where none was: how long the validation may take at most."""


def finish(session: TrainingSession, trainer: Trainer, data: TrainingImages, bar: Progress) -> None:
    """Write the bundle, validate the agent, and write the bundle again with what was measured.

    Ctrl-C during the validation leaves the bundle as it is, without figures and calibration.
    """
    if session.start is not None and session.start_share:
        mix_weights(trainer.average, session.start.model, session.start_share)
    round_weights(trainer.average)
    _write(session, trainer, data, None, None, session.replace)
    seconds = VALIDATION_SHARE * (60 * session.settings.minutes if session.settings.minutes else trainer.seconds)
    bar.console.print(
        f"The bundle is written. Validation searches {len(data.held_out)} held-out images, for "
        f"{max(seconds / 60, 0.1):.1f} minutes at most (but {FEWEST_SEARCHED} images a step). "
        "Ctrl-C ends it and keeps the bundle, without figures.",
        soft_wrap=True,
    )
    try:
        figures, calibration = _validate(session, trainer_agent(session, trainer), data, bar, seconds / 3)
    except KeyboardInterrupt:
        bar.console.print("Stopped while validating; the bundle is complete but for its figures.", soft_wrap=True)
        return
    _write(session, trainer, data, figures, calibration, replace=True)
    for line in [*_lines(figures), *doubts(figures, calibration)]:
        bar.console.print(line, soft_wrap=True)


def mix_weights(model: DiffusionAutoencoder, start: DiffusionAutoencoder, share: float) -> None:
    """Average a model's weights with those that its training began with (WiSE-FT, arXiv 2109.01903).

    Args:
        model: As it has learned; changed in place.
        start: As it began, of the same architecture.
        share: Weight of ``start``, in [0, 1].
    """
    begun = start.state_dict()
    with torch.no_grad():
        for name, weights in model.state_dict().items():
            if weights.is_floating_point():
                weights.lerp_(begun[name].to(weights), share)


def trainer_agent(session: TrainingSession, trainer: Trainer) -> Agent:
    """Return the agent as trained so far."""
    model, noise = trainer.average.eval(), session.settings.student_noise
    return Agent(model, session.name, "", session.classifier.version, trainer.device, noise)


def _validate(
    session: TrainingSession, agent: Agent, data: TrainingImages, bar: Progress, seconds: float
) -> tuple[Figures, Calibration]:
    """Calibrate the agent and measure it; each of the up to three steps may take ``seconds``."""
    task = bar.add_task("validate", total=1.0)

    def measure(calibration: Calibration) -> Figures:
        return validate(
            replace(agent, calibration=calibration),
            session.classifier,
            data.held_out,
            progress=lambda stage, part: bar.update(task, completed=part),
            seconds=seconds,
        )

    calibration = calibrate(agent, session.classifier, data.usually_seen, data.held_out, seconds)
    figures = measure(replace(calibration, evidence_validity=None, follows_shape=None))  # the student guides
    calibration = replace(calibration, student_change=figures.changed_l1)
    if calibration.edits_by_flow or calibration.edits_by_shape:
        figures = measure(calibration)
    return figures, calibration


def _write(
    session: TrainingSession,
    trainer: Trainer,
    data: TrainingImages,
    figures: Figures | None,
    calibration: Calibration | None,
    replace: bool,
) -> None:
    write_agent(
        session.out,
        trainer.average,
        session.classifier,
        name=session.name,
        card=_card(session, trainer, data, figures, calibration),
        figures=figures.to_dict() if figures else {},
        student_noise=session.settings.student_noise,
        calibration=calibration,
        replace=replace,
    )


def _lines(figures: Figures) -> list[str]:
    """Return the figures in words, for the log."""
    return [f"{title}: {text}" for title, text in _measured(figures).items()]


def _steps(trainer: Trainer) -> str:
    """Return how many steps were taken with how many images each: ``4 steps of 8, then 2 of 16``."""
    parts = [(steps, batch) for batch, steps in trainer.taken if steps]
    first, *others = parts or [(0, trainer.settings.batch * trainer.processes.count)]
    return ", then ".join([f"{first[0]} steps of {first[1]}", *(f"{steps} of {batch}" for steps, batch in others)])


def _card(
    session: TrainingSession,
    trainer: Trainer,
    data: TrainingImages,
    figures: Figures | None,
    calibration: Calibration | None,
) -> str:
    """Return the model card, Markdown; without figures and calibration of a bundle that is not validated yet."""
    parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    rows = {
        "Explains": f"{session.classifier.name}, version `{session.classifier.version[:16]}`",
        "Networks": f"diffusion autoencoder with linear student, {parameters:.2f} million parameters",
        "Command": f"`{session.command}`",
        "Seed": str(session.settings.seed),
        "Training": f"{len(data.train)} images without labels, {_steps(trainer)}, {session.settings.precision}",
        "Time": f"{trainer.seconds / 60:.1f} minutes on {machine_class(str(trainer.device))}, "
        f"{torch.get_num_threads()} threads, {trainer.processes.count} process(es)",
    }
    if figures is None or calibration is None:
        rows["Validation"] = "none: it was stopped, or is still running"
    else:
        rows |= {**_measured(figures), **_calibrated(session.classifier.classes, calibration)}
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
            *(f"{note}\n" for note in data.notes),
            *(f"**{doubt}**\n" for doubt in (doubts(figures, calibration) if figures and calibration else ())),
            "The weights are the running average of the training. The black box alone decides what is valid.",
        ]
    )


def _measured(figures: Figures) -> dict[str, str]:
    rows = {
        "Held-out images": f"{figures.images}, {figures.searched} of them searched",
        "Validity on the black box": f"{figures.validity:.3f}",
        "Convinces the black box": "not measured" if figures.convinced is None else f"{figures.convinced:.3f}",
        "Student-teacher agreement": _beside(figures.agreement, figures.always_agreement),
    }
    if figures.balanced_agreement is not None:
        rows["Balanced over the classes"] = _beside(figures.balanced_agreement, figures.always_balanced)
    for each in figures.classes:
        parts = [f"{each.images} held-out images"]
        if each.agreement is not None:
            parts.append(f"agreement {each.agreement:.3f}")
        if each.valid_from is not None:
            parts.append(f"{each.valid_from:.3f} of {each.searched_from} flip from it")
        if each.valid_to is not None:
            parts.append(f"{each.valid_to:.3f} of {each.searched_to} flip to it")
        rows[f"Called {each.name}"] = ", ".join(parts)
    rows["Reconstruction L1"] = f"{figures.reconstruction_l1:.4f} of the intensity window"
    if figures.changed_l1 is not None:
        rows["Mean change of a counterfactual (L1)"] = f"{figures.changed_l1:.4f} of the intensity window"
    return rows


def doubts(figures: Figures, calibration: Calibration) -> list[str]:
    """Return the reasons not to rely on the agent, as sentences; none where it convinces."""
    reasons = []
    if figures.validity < FEW_VALID:
        reasons.append(f"This agent seldom finds a counterfactual: {figures.validity:.0%} of the searched images flip.")
    elif figures.convinced is not None and figures.convinced < FEW_CONVINCED:
        reasons.append(
            f"This agent does not convince: for {figures.convinced:.0%} of the searched images, the black box is as "
            "sure of the counterfactual as of real images of that class."
        )
    if not calibration.draws_other_classes:
        reasons.append(
            f"Its decoder does not draw other classes by itself ({calibration.evidence_validity or 0:.0%} of held-out "
            "images flip). Its edits follow the student."
        )
    if reasons:
        reasons.append(
            "Train it longer (--minutes with --resume --replace), on more images, or --start from another agent."
        )
    return reasons


def _beside(value: float, trivial: float | None) -> str:
    return f"{value:.3f}" if trivial is None else f"{value:.3f} (always the commonest answer: {trivial:.3f})"


def _calibrated(classes: Sequence[str], calibration: Calibration) -> dict[str, str]:
    rows = {
        f"Convincing probability of {name}": f"{value:.3f}, the black box's median on real images that it calls so"
        for name, value in zip(classes, calibration.convincing, strict=True)
        if value is not None
    }
    if calibration.follows_shape is not None:
        rows["Convinced by a deformation alone"] = f"{calibration.follows_shape:.2f} of held-out images"
    if calibration.evidence_validity is not None:
        rows["Other classes drawn by the decoder alone"] = f"{calibration.evidence_validity:.2f} of held-out images"
    if calibration.flow_change is not None:
        led = calibration.student_change
        beside = "" if led is None else f", {led:.4f} where the student guides"
        rows["Mean change of edits by flow (L1)"] = f"{calibration.flow_change:.4f} of the intensity window{beside}"
    return rows
