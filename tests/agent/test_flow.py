"""The flow between image and noise: exact where the field is a straight line, and reversible where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from otherwise.agent.flow import draw, integrate, integrate_partway, invert, noised, redraw, render


def test_the_line_ends_in_image_and_noise() -> None:
    images, noise = torch.rand(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    assert torch.equal(noised(images, noise, torch.zeros(3)), images)
    assert torch.equal(noised(images, noise, torch.ones(3)), noise)


def test_a_straight_field_is_solved_exactly() -> None:
    images, noise = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    reached = integrate(lambda x, t: noise - images, images, 0.0, 0.5, steps=2)
    torch.testing.assert_close(reached, noised(images, noise, torch.full((2,), 0.5)))


def test_rendering_undoes_inversion_to_second_order() -> None:
    def curved(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(3 * x) + t[:, None]

    images = torch.rand(4, 5, dtype=torch.float64)
    errors = [
        float((render(curved, invert(curved, images, 0.7, steps), 0.7, steps) - images).abs().max()) for steps in (4, 8)
    ]
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.5), (0.9, 0.1)])
def test_a_step_on_a_part_of_the_way_costs_one_call_and_the_first_one_another(
    steps: int, begin: float, end: float
) -> None:
    asked: list[float] = []

    def field(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t[0]))
        return torch.zeros_like(x)

    integrate_partway(field, torch.zeros(2, 3), begin, end, steps)
    assert asked == pytest.approx(torch.linspace(begin, end, steps + 1).tolist())


@pytest.mark.parametrize("rate", [-2.0, -1.0, 1.0, 2.0])
@pytest.mark.parametrize("steps", [4, 8, 16, 32])
@pytest.mark.parametrize("solve", [integrate, integrate_partway])
def test_the_error_is_of_second_order(solve: Callable[..., Tensor], rate: float, steps: int) -> None:
    """``dx/dt = rate x`` has the solution ``x exp(rate t)``; Euler's rule would be ``rate^2 / (2 steps)`` away."""
    start, exact = torch.ones(1, 1, dtype=torch.float64), math.exp(rate)
    found = float(solve(lambda x, t: rate * x, start, 0.0, 1.0, steps))
    assert abs(found - exact) / exact < rate**2 / steps**2


def test_only_the_masked_part_is_drawn_anew() -> None:
    images, noise, other = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    drawn = redraw(lambda x, t: noise - other, images, mask, noise, depth=0.5, steps=3)
    expected = images + 0.5 * (other - images)  # half-way noise still knows half of the image
    torch.testing.assert_close(drawn, torch.where(mask > 0, expected, images))
    assert torch.equal(redraw(lambda x, t: noise - other, images, 0 * mask, noise, 0.5, 3), images)


def test_no_noise_is_left_in_what_is_drawn_by_a_network_that_sees_none_at_the_end() -> None:
    """Of a constant image the best network knows the noise exactly, except at time 0, where it can say 0 at most."""

    def best(x: Tensor, t: Tensor) -> Tensor:
        time = t.reshape(-1, 1, 1, 1)
        return torch.where(time > 0, (x - 0.3) / time.clamp_min(1e-6), -0.3 * torch.ones_like(x))

    noise = torch.randn(2, 1, 8, 8)
    start = noised(torch.full_like(noise, 0.3), noise, torch.full((2,), 0.8))
    for steps in (1, 6):
        torch.testing.assert_close(draw(best, start, 0.8, steps), torch.full_like(noise, 0.3))
    mask = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(
        redraw(best, torch.full_like(noise, 0.3), mask, noise, 0.8, 3), torch.full_like(noise, 0.3)
    )
    assert float(render(best, start, 0.8, 6).std()) > 0.05, "the reversible rule is for inverted noise"


def test_a_step_may_cancel() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        integrate(lambda x, t: x, torch.zeros(1, 1), 0.0, 1.0, 3, stop)
