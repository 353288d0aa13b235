"""What the strength of an edit by flow means: a time for classes, a distance in evidence for values."""

from __future__ import annotations

import pytest
import torch

from otherwise.agent.editing.edit_scale import EvidenceScale, TimeScale, opposite_evidence
from otherwise.agent.editing.flow_edit import flow_edit
from support.gaussian_flow import SPREAD, GaussianFlow, says


def test_strength_in_evidence_is_the_share_of_the_way_to_the_value_that_is_asked_for() -> None:
    scale = EvidenceScale(says(-0.2), says(0.4), start=0.98, guidance=1.0, steps=4)
    wanted = scale.wanted([0.0, 0.5, 1.0, 2.0, 9.0]).evidence[:, 1]
    torch.testing.assert_close(wanted, torch.tensor([-0.2, 0.1, 0.4, 1.0, 1.0]))
    assert {scale.flow(strength).start for strength in (0.1, 1.0, 2.0)} == {0.98}


def test_strength_in_time_asks_for_the_same_evidence_from_further_back() -> None:
    scale = TimeScale(says(1.0), guidance=3.0, limits=(0.35, 0.95), first=0.75, steps=6)
    assert scale.wanted([0.4, 0.9]).evidence[:, 1].tolist() == [1.0, 1.0]
    assert [scale.flow(strength).start for strength in (0.4, 0.9)] == [0.4, 0.9]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_an_edit_on_the_scale_of_evidence_draws_an_image_of_the_value_and_keeps_its_texture(share: float) -> None:
    images = -0.2 + SPREAD * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    scale = EvidenceScale(says(-0.2), says(0.4), start=1.0, guidance=0.0, steps=3)
    edited = flow_edit(
        GaussianFlow(), images, scale.present, scale.wanted([share]), noise, [scale.flow(share)], steps=scale.steps
    )
    torch.testing.assert_close(edited, images + share * 0.6)


def test_the_wanted_evidence_is_sure_of_the_target_and_leaves_other_labels_alone() -> None:
    present = torch.tensor([[0.5, -0.5, 0.1]])
    assert opposite_evidence(present, 2, multi_label=False).tolist() == [[-1.0, -1.0, 1.0]]
    several = opposite_evidence(present, 1, multi_label=True)
    torch.testing.assert_close(several, torch.tensor([[0.5, 1.0, 0.1]]))
