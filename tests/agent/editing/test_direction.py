"""The condition of an image: evidence that stays in bounds, ways that reach the boundary, guidance that exaggerates."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.direction import MIN_EVIDENCE_STEP, MIN_LATENT_STEP, direction_to_boundary, edit_velocity
from otherwise.agent.networks import Architecture, DiffusionAutoencoder


@pytest.fixture
def model() -> DiffusionAutoencoder:
    torch.manual_seed(1)
    return DiffusionAutoencoder(
        Architecture(2, (8, 8), classes=3, latent=8, channels=(16, 16), encoder_channels=(8, 8, 16, 16))
    )


def test_evidence_is_ordered_bounded_and_zero_at_even_odds() -> None:
    log_odds = clipped_log_odds(torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]]))[0]
    assert log_odds[0] == -1
    assert log_odds[4] == 1
    assert log_odds[2].abs() < 1e-6
    assert log_odds.diff().min() > 0


def test_once_reaches_the_boundary_in_evidence_and_twice_mirrors_it(model: DiffusionAutoencoder) -> None:
    condition = Conditioning.of(torch.randn(1, 8), torch.tensor([[0.6, -0.4, -0.8]]))
    target = torch.tensor([1])
    direction = direction_to_boundary(model, condition, target, multi_label=False)
    once, twice = (
        direction.applied(condition, torch.tensor([1.0])).evidence[0],
        direction.applied(condition, torch.tensor([2.0])).evidence[0],
    )
    torch.testing.assert_close(once[0], once[1])
    torch.testing.assert_close(twice, torch.tensor([-0.4, 0.6, -0.8]))
    far = direction.applied(condition, torch.tensor([50.0])).evidence
    assert far.abs().max() == 1


@pytest.mark.parametrize("multi_label", [False, True])
def test_once_reaches_the_student_s_boundary(model: DiffusionAutoencoder, multi_label: bool) -> None:
    latent = 20 * torch.randn(100, 8)
    answers = model.classify(latent).sigmoid() if multi_label else model.classify(latent).softmax(1)
    # Beyond the clipped evidence classes tie and the rival is a guess.
    sure = (answers > 0.02).sum(1) >= 2
    condition = Conditioning.of(latent[sure], clipped_log_odds(answers[sure]))
    target = answers[sure].argsort(1)[:, -2]
    logits = model.classify(
        direction_to_boundary(model, condition, target, multi_label).applied(condition, torch.ones(len(target))).latent
    )
    own = logits.gather(1, target[:, None])[:, 0]
    beyond = own if multi_label else own - logits.gather(1, answers[sure].argmax(1, keepdim=True))[:, 0]
    far = direction_to_boundary(model, condition, target, multi_label).latent.norm(dim=1) > MIN_LATENT_STEP + 1e-4
    assert far.sum() >= 10
    torch.testing.assert_close(beyond[far], torch.zeros(int(far.sum())), atol=1e-4, rtol=0)


@pytest.mark.parametrize("multi_label", [False, True])
def test_where_the_student_thinks_it_across_already_the_way_goes_on(
    model: DiffusionAutoencoder, multi_label: bool
) -> None:
    condition = Conditioning.of(20 * torch.randn(50, 8), torch.tensor([[0.9, -0.9, -0.9]]).expand(50, 3))
    target = torch.ones(50, dtype=torch.long)
    direction = direction_to_boundary(model, condition, target, multi_label)
    before, after = model.classify(condition.latent), model.classify(condition.latent + direction.latent)
    gain = after - before
    assert (before[:, 1] > before[:, 0]).any(), "some the student has wrong"
    assert (gain[:, 1] > (0 if multi_label else gain[:, 0])).all()


@pytest.mark.parametrize("present", [0.01, -0.01])
def test_an_image_on_the_boundary_moves_all_the_same(model: DiffusionAutoencoder, present: float) -> None:
    condition = Conditioning.of(torch.randn(1, 8), torch.full((1, 3), present))
    target = torch.tensor([2])
    single = direction_to_boundary(model, condition, target, multi_label=False).evidence[0, 2]
    assert single >= MIN_EVIDENCE_STEP
    several = direction_to_boundary(model, condition, target, multi_label=True).evidence[0, 2]
    assert several.abs() >= MIN_EVIDENCE_STEP
    assert (several > 0) == (present <= 0), "away from what it says now"


def test_what_is_withheld_cannot_be_told() -> None:
    one, other = (Conditioning.of(latent, torch.full((2, 3), 0.5)).withheld() for latent in torch.randn(2, 2, 8))
    assert torch.equal(one.tensor(), other.tensor())


def test_guidance_exaggerates_what_the_answer_alone_says() -> None:
    def velocity(x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
        return x + condition.evidence[:, :1] + 10 * condition.known * condition.latent[:, :1]

    stand_in = SimpleNamespace(velocity=velocity)
    condition = Conditioning.of(torch.ones(2, 1), torch.zeros(2, 2))
    moved = Conditioning.of(2 * torch.ones(2, 1), torch.tensor([[0.5, 0.0], [1.0, 0.0]]))
    x, t = torch.zeros(2, 1), torch.zeros(2)
    plain = edit_velocity(stand_in, condition, moved, torch.zeros(2))(x, t)
    strong = edit_velocity(stand_in, condition, moved, torch.tensor([2.0, 3.0]))(x, t)
    assert plain[:, 0].tolist() == [20.5, 21.0]
    assert strong[:, 0].tolist() == [20.5 + 2 * 0.5, 21.0 + 3 * 1.0]
