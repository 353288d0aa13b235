"""The diffusion process as a straight-line flow between image and noise, and its solvers.

``x_t = (1 - t) x + t noise`` with ``t`` in [0, 1]; a network predicts the velocity ``v = noise - x``
(Lipman et al., "Flow Matching for Generative Modeling", arXiv 2210.02747; Liu et al., arXiv 2209.03003).
Going up the ordinary differential equation ``dx/dt = v`` inverts an image, going down renders one. Both
directions use the same rule on the same time grid, so what inversion loses is small and measurable.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

StepDone = Callable[[], None]
"""Called after each solver step; may raise to cancel."""

Velocity = Callable[[Tensor, Tensor], Tensor]
"""``(x_t (batch, ...), t (batch,)) -> velocity (batch, ...)``"""


def expand(values: Tensor, like: Tensor) -> Tensor:
    """Give ``values (batch,)`` trailing axes so that they broadcast against ``like (batch, ...)``."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def noised(images: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return the point at a time of the straight line from image (time 0) to noise (time 1)."""
    t = expand(time, images)
    return (1 - t) * images + t * noise


def sample_times(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw training times from a logit-normal law, which favours the middle (Esser et al., arXiv 2403.03206)."""
    return torch.sigmoid(torch.randn(count, generator=generator) - 0.2).to(device)


def integrate(
    velocity: Velocity, start: Tensor, begin: float, end: float, steps: int, step_done: StepDone | None = None
) -> Tensor:
    """Solve ``dx/dt = velocity(x, t)`` from time ``begin`` to ``end`` with Heun's rule.

    Two network calls a step, of second order. The rule is the same in both directions, so that rendering undoes
    inversion. To draw from fresh noise use ``draw``.

    Args:
        velocity: The field.
        start: ``(batch, ...)`` at time ``begin``.
        begin: Time in [0, 1]; ``begin < end`` inverts, ``begin > end`` renders.
        end: Time in [0, 1].
        steps: Number of equal steps.
        step_done: See ``StepDone``.

    Returns:
        ``(batch, ...)`` at time ``end``.
    """
    x = start
    times = torch.linspace(begin, end, steps + 1, device=start.device, dtype=start.dtype)
    ones = torch.ones(len(start), device=start.device, dtype=start.dtype)
    for now, after in itertools.pairwise(times):
        slope = velocity(x, now * ones)
        ahead = x + (after - now) * slope
        x = x + (after - now) * (slope + velocity(ahead, after * ones)) / 2
        if step_done is not None:
            step_done()
    return x


def integrate_partway(
    velocity: Velocity, start: Tensor, begin: float, end: float, steps: int, step_done: StepDone | None = None
) -> Tensor:
    """Solve ``dx/dt = velocity(x, t)`` with one network call a step, and one at first, for a part of the way.

    The trapezoidal rule: each step follows the mean of the slopes at its ends. The slope at its end is taken at Euler's
    prediction and begins the next step as well (predict, evaluate, correct: Hairer, Norsett and Wanner, Solving
    Ordinary Differential Equations I, III.1). It is of second order, as Heun's rule is. Inverting real images to half
    of the way and rendering them again it errs less than Heun's rule with nearly twice the calls; over the whole way it
    errs more. Arguments and result as for ``integrate``.
    """
    x, length = start, (end - begin) / steps
    times = torch.linspace(begin, end, steps + 1, device=start.device, dtype=start.dtype)
    ones = torch.ones(len(start), device=start.device, dtype=start.dtype)
    slope = velocity(x, times[0] * ones)
    for after in times[1:]:
        ahead = velocity(x + length * slope, after * ones)
        x = x + length * (slope + ahead) / 2
        slope = ahead
        if step_done is not None:
            step_done()
    return x


def invert(velocity: Velocity, images: Tensor, depth: float, steps: int, step_done: StepDone | None = None) -> Tensor:
    """Bring images to the noise of time ``depth`` that renders them again (DDIM inversion, arXiv 2010.02502)."""
    return integrate(velocity, images, 0.0, depth, steps, step_done)


def draw(velocity: Velocity, noise: Tensor, depth: float, steps: int, step_done: StepDone | None = None) -> Tensor:
    """Draw images from fresh noise: Heun's rule, and Euler's for the last step (arXiv 2206.00364, algorithm 1).

    At time 0 a network cannot know the noise. Heun's rule would ask it there, and half of the last noise would stay.

    Args:
        velocity: The field.
        noise: ``(batch, ...)`` at time ``depth``.
        depth: Time in (0, 1].
        steps: Number of equal steps.
        step_done: See ``StepDone``.

    Returns:
        ``(batch, ...)`` at time 0.
    """
    last = depth / steps
    x = integrate(velocity, noise, depth, last, steps - 1, step_done) if steps > 1 else noise
    x = x - last * velocity(x, torch.full((len(x),), last).to(x))
    if step_done is not None:
        step_done()
    return x


def redraw(
    velocity: Velocity,
    images: Tensor,
    mask: Tensor,
    noise: Tensor,
    depth: float,
    steps: int,
    step_done: StepDone | None = None,
) -> Tensor:
    """Draw a part of images again from noise, held to the rest at every step (RePaint, arXiv 2201.09865, going once).

    Args:
        velocity: The field.
        images: ``(batch, ...)``.
        mask: Of the same shape or broadcast to it, in [0, 1]: 1 where they are drawn again.
        noise: ``(batch, ...)`` of the normal law.
        depth: Time in (0, 1] from which they are.
        steps: Number of equal steps.
        step_done: See ``StepDone``.
    """
    x = noised(images, noise, torch.full((len(images),), depth).to(images))
    for now, after in itertools.pairwise(torch.linspace(depth, 0, steps + 1).tolist()):
        x = integrate(velocity, x, now, after, 1, step_done) if after else draw(velocity, x, now, 1, step_done)
        held = noised(images, noise, torch.full((len(images),), after).to(images))
        x = mask * x + (1 - mask) * held
    return x


def render(velocity: Velocity, noise: Tensor, depth: float, steps: int, step_done: StepDone | None = None) -> Tensor:
    """Bring the noise of time ``depth`` back to images."""
    return integrate(velocity, noise, depth, 0.0, steps, step_done)
