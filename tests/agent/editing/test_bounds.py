"""Edits take values that the image itself has nearby: no arc darker than lung, no blot brighter than the mass."""

from __future__ import annotations

import pytest
import torch

from otherwise.agent.editing.bounds import Bounds


@pytest.mark.parametrize("size", [(9, 12), (6, 7, 9)])
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_an_image_is_within_its_own_bounds_and_bounds_are_within_its_range(size: tuple[int, ...], reach: int) -> None:
    images = torch.rand((3, 2, *size), generator=torch.Generator().manual_seed(0))
    bounds = Bounds.around(images, reach)
    assert torch.equal(bounds.clamp(images), images)
    least, most = images.flatten(2).amin(2), images.flatten(2).amax(2)
    assert (bounds.lowest.flatten(2).amin(2) >= least - 1e-6).all()
    assert (bounds.highest.flatten(2).amax(2) <= most + 1e-6).all()
    wider = Bounds.around(images, reach + 1)
    assert (wider.lowest <= bounds.lowest).all()
    assert (wider.highest >= bounds.highest).all()


def test_a_bright_line_may_vanish_and_the_dark_beside_it_gets_no_darker() -> None:
    image = torch.full((1, 1, 15, 15), 0.1)
    image[..., 7] = 0.5
    bounds = Bounds.around(image, 3)
    black = bounds.clamp(torch.zeros_like(image))
    torch.testing.assert_close(black, torch.full_like(image, 0.1))
    white = bounds.clamp(torch.ones_like(image))
    torch.testing.assert_close(white[..., 7], image[..., 7])
    assert (white[..., 0] == image[..., 0]).all(), "far from the line there is nothing bright"
    assert (white[..., 6] > 0.2).all(), "beside it there is"


def test_a_direction_is_shut_where_it_leads_out() -> None:
    bounds = Bounds(torch.zeros(4), torch.ones(4))
    images, direction = torch.tensor([0.0, 0.0, 1.0, 0.5]), torch.tensor([-1.0, 1.0, 1.0, -1.0])
    torch.testing.assert_close(bounds.open(images, direction), torch.tensor([0.0, 1.0, 0.0, -1.0]))
    moved = bounds.mapped(lambda x: 2 * x - 1)
    torch.testing.assert_close(moved.open(2 * images - 1, direction), bounds.open(images, direction))
