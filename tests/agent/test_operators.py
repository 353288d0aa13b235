"""Maps are blurred, thinned and shrunk without a place or a sign getting lost."""

from __future__ import annotations

import pytest
import torch

from otherwise.agent.operators import shrunk, smoothed, sparse


@pytest.mark.parametrize("size", [(9, 12), (6, 7, 9)])
def test_blurring_takes_grain_keeps_what_is_even_and_never_turns_a_way_back(size: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        map_ = torch.randn((2, 1, *size), generator=generator)
        assert ((map_ * smoothed(map_)).flatten(1).sum(1) > 0).all()
    inside = (slice(None), slice(None), *[slice(2, -2)] * len(size))
    even = torch.full((1, 1, *size), 3.0)
    torch.testing.assert_close(smoothed(even)[inside], even[inside])
    torch.testing.assert_close(smoothed(even, edge="replicate"), even)
    places = torch.stack(torch.meshgrid(*[torch.arange(edge) for edge in size], indexing="ij")).sum(0)
    checks = (1.0 - 2.0 * (places % 2))[None, None]
    assert smoothed(checks)[inside].abs().max() < 1e-6


def test_what_is_greatest_is_kept_in_its_order_whatever_its_sign() -> None:
    kept = sparse(torch.tensor([[[1.0, -5.0, 2.0, 0.5, 4.0, -3.0, 0.0, 1.5]]]), share=0.375)
    torch.testing.assert_close(kept, torch.tensor([[[0.0, -3.0, 0.0, 0.0, 2.0, -1.0, 0.0, 0.0]]]))


def test_what_is_faint_vanishes_and_the_rest_loses_as_much() -> None:
    maps = torch.tensor([[[0.3, -0.05, -0.2]], [[0.3, -0.05, -0.2]]])
    shorter = shrunk(maps, torch.tensor([0.1, 0.0]))
    torch.testing.assert_close(shorter, torch.tensor([[[0.2, 0.0, -0.1]], [[0.3, -0.05, -0.2]]]))
