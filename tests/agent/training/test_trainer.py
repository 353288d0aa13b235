"""Training: the losses fall, a resumed run is the same run, and nothing half written is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.training.checkpoint import load_checkpoint, save_checkpoint
from otherwise.agent.training.distillation import ask, distillation_loss, in_noise
from otherwise.agent.training.trainer import AgentObjective, Losses, Trainer, TrainingSettings
from otherwise.agent.training.validation import agreement
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import AgentError
from support.square_models import SquareClassifier, architecture, squares


def trainer(images: np.ndarray, classifier: SquareClassifier, steps: int = 6, **more: Any) -> Trainer:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(architecture(classifier.inputs.size))
    given = {"batch": 4, "rendered_every": 2, "rendered_from": 0.3, "replay": 8, **more}
    settings = TrainingSettings(steps=steps, **given)
    return Trainer(model, classifier, images, settings)


def test_a_resumed_run_is_the_same_run(images: np.ndarray, classifier: SquareClassifier, tmp_path: Path) -> None:
    whole = trainer(images, classifier)
    whole.run()
    first = trainer(images, classifier)
    while first.step < 3:
        first.advance()
    first.save(tmp_path / "checkpoint.pt")
    second = trainer(images, classifier)
    second.resume(tmp_path / "checkpoint.pt")
    second.run()
    for expected, got in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(expected, got)


@pytest.mark.long
def test_the_student_learns_from_the_black_box_alone() -> None:
    classifier = SquareClassifier(InputSpec((16, 16)))
    run = trainer(squares((16, 16), 128, seed=0), classifier, steps=150, learning_rate=2e-3, rendered_every=4)
    first = run.advance()
    losses = []
    run.run(lambda _, step: losses.append(step.flow))
    agent = Agent(run.average.eval(), "tiny", "", "", torch.device("cpu"))
    assert np.mean(losses[-20:]) < 0.7 * first.flow
    assert agreement(agent, classifier, squares((16, 16), 64, seed=9)).share > 0.85


def test_the_student_may_learn_alone_at_first() -> None:
    """What it looks at may take it long to see; the denoiser waits, and then both learn."""
    classifier = SquareClassifier(InputSpec((16, 16)))
    run = trainer(squares((16, 16), 64, seed=0), classifier, steps=40)
    run.settings = replace(run.settings, student_first=0.5)
    before = [weight.clone() for weight in run.model.denoiser.parameters()]
    flow = []

    def watch(_: Trainer, losses: Losses) -> None:
        flow.append(losses.flow)
        if len(flow) == 20:
            untouched = zip(before, run.model.denoiser.parameters(), strict=True)
            assert all(torch.equal(old, new) for old, new in untouched)

    student = [weight.clone() for weight in run.model.student.parameters()]
    run.run(watch)
    assert flow[:20] == [0.0] * 20
    assert min(flow[20:]) > 0
    assert not all(torch.equal(old, new) for old, new in zip(student, run.model.student.parameters(), strict=True))
    assert not all(torch.equal(old, new) for old, new in zip(before, run.model.denoiser.parameters(), strict=True))


@pytest.mark.long
def test_a_student_that_learned_in_noise_sees_through_it() -> None:
    classifier = SquareClassifier(InputSpec((16, 16)))
    unseen = torch.from_numpy(squares((16, 16), 64, seed=9))
    faint = in_noise(unseen, 0.5, torch.Generator().manual_seed(1))

    def loss(most: float) -> float:
        run = trainer(squares((16, 16), 128, seed=0), classifier, steps=80)
        run.settings = replace(run.settings, batch=8, student_first=0.9, student_noise=most)
        run.run()
        student = run.average.eval()
        return float(distillation_loss(student.classify(student.encode(faint)), ask(classifier, unseen), False))

    assert loss(0.5) < 0.9 * loss(0.0)


def test_a_decoder_that_learns_alone_leaves_the_student_as_it_is() -> None:
    classifier = SquareClassifier(InputSpec((16, 16)))
    run = trainer(squares((16, 16), 64, seed=0), classifier, steps=3)
    taught = Trainer(run.model, classifier, run.images, replace(run.settings, decoder_only=True, focus=0.8))
    before = {name: value.clone() for name, value in taught.model.state_dict().items()}
    taught.run(lambda _, losses: None)
    changed = {name for name, value in taught.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("denoiser.") for name in changed)
    assert not taught.replay.filled


def test_the_denoisers_loss_lies_where_it_is_told_to(model: DiffusionAutoencoder) -> None:
    size = model.architecture.size
    images, noise = torch.rand(2, 2, 1, *size, generator=torch.Generator().manual_seed(1))
    weight = torch.zeros(2, 1, *size)
    weight[..., : size[-1] // 2] = 2.0
    nothing, answers = images[:0], torch.full((2, 2), 0.5)

    def flow(weight: torch.Tensor | None, noise: torch.Tensor) -> float:
        given = (images, nothing, answers, torch.ones(2, 1), noise, torch.full((2,), 0.5))
        with torch.no_grad():
            total, flow, student = AgentObjective(model.eval(), False, 1.0)(*given, clear=False, weight=weight)
        assert float(total) == float(flow)
        assert float(student) == 0.0
        return float(flow)

    left, everywhere = flow(weight, noise), flow(None, noise)
    right = flow(2.0 - weight, noise)
    assert everywhere == pytest.approx((left + right) / 2, rel=1e-5)
    assert left != pytest.approx(right, rel=1e-3)


def test_on_the_way_to_noise_images_keep_their_share() -> None:
    images = torch.rand(64, 1, 16, 16)
    assert torch.allclose(in_noise(images, 0.0, torch.Generator()), images, atol=1e-6)
    lost = (in_noise(images, 0.5, torch.Generator().manual_seed(0)) - images).flatten(1).std(dim=1)
    assert lost.max() < 0.5
    assert lost.max() > 3 * lost.min(), "each has its own time"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "no end"),
        ({"minutes": 0.0}, "learns nothing"),
        ({"minutes": -1.0}, "learns nothing"),
        ({"minutes": float("nan")}, "learns nothing"),
        ({"steps": 0}, "learns nothing"),
        ({"steps": 1, "batch": 0}, "learns nothing"),
        ({"steps": 1, "student_first": 1.0}, "alone"),
        ({"steps": 1, "student_noise": 1.0}, "noise"),
        ({"steps": 1, "focus": 1.0}, "focused"),
        ({"steps": 1, "student_first": 0.2, "decoder_only": True}, "decoder only"),
    ],
)
def test_training_without_an_end_or_a_denoiser_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        TrainingSettings(**wrong)


def test_in_three_dimensions_gradients_in_bf16_are_those_of_single_precision() -> None:
    """Not of itself so: on grids of 1 or 2 voxels PyTorch's CPU backend returns garbage, see ``agent.tiny_grids``."""
    torch.manual_seed(0)
    model = DiffusionAutoencoder(Architecture(3, (16, 16, 16), patch=2, channels=(32, 64, 64)))
    randomness = torch.Generator().manual_seed(1)
    for weight in model.parameters():  # Some begin at zero, and let no gradient through.
        weight.data += 0.02 * torch.randn(weight.shape, generator=randomness)
    images = torch.rand(8, 1, 16, 16, 16, generator=randomness)
    times = torch.rand(8, generator=randomness)

    def gradients(precision: torch.dtype) -> dict[str, torch.Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            latent = model.encode(images)
            code = Conditioning(latent, torch.zeros(8, 2), torch.ones(8, 1))
            velocity = model.velocity(2 * images - 1, times, code)
            (velocity.float().square().mean() + model.classify(latent).float().square().mean()).backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.ndim == 5}

    exact, rounded = gradients(torch.float32), gradients(torch.bfloat16)
    assert len(exact) > 20
    for name, gradient in exact.items():
        error = float((rounded[name] - gradient).norm() / gradient.norm())
        assert error < 0.4, f"{name}: {error}"


def test_a_checkpoint_of_another_teacher_is_refused(
    images: np.ndarray, classifier: SquareClassifier, tmp_path: Path
) -> None:
    trainer(images, classifier).save(tmp_path / "checkpoint.pt")
    other = SquareClassifier(classifier.inputs, version="3" * 64)
    with pytest.raises(AgentError, match="another classifier"):
        trainer(images, other).resume(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"grain": 0.25}, "images with grain of 0.25; these have"), ({"latent": 7}, "networks of other sizes")],
)
def test_a_checkpoint_of_other_images_or_networks_is_refused_with_what_differs(
    images: np.ndarray, classifier: SquareClassifier, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    new = trainer(images, classifier)
    new.save(tmp_path / "checkpoint.pt")
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    state["architecture"] |= change
    save_checkpoint(state, tmp_path / "checkpoint.pt")
    with pytest.raises(AgentError, match=message):
        new.resume(tmp_path / "checkpoint.pt")


def test_a_failed_save_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint({"step": 1}, path)
    (tmp_path / "checkpoint.pt.partial").mkdir()
    with pytest.raises(AgentError, match="could not be written"):
        save_checkpoint({"step": 2}, path)
    assert load_checkpoint(path) == {"step": 1}


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(AgentError, match="damaged"):
        load_checkpoint(path)
    with pytest.raises(AgentError, match="no checkpoint"):
        load_checkpoint(tmp_path / "absent.pt")
