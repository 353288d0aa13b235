"""Rendering edits of an image from its own inverted noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otherwise.agent.bounds import Bounds
from otherwise.agent.bundle import Agent
from otherwise.agent.code import Code, Way, edit_velocity
from otherwise.agent.flow import StepDone, invert, render
from otherwise.agent.guidance import guided
from otherwise.agent.operators import shrunk
from otherwise.errors import CancelledError

Cancelled = Callable[[], bool]
MIRRORED = 2.0
"""Strength at which the code says of the target what it said of the present class; beyond it codes are unlike any."""


def stopping(cancelled: Cancelled) -> StepDone:
    """What raises ``CancelledError`` after a solver step if ``cancelled`` says so."""

    def step_done() -> None:
        if cancelled():
            raise CancelledError("The search was cancelled.", "Ask again when you want the explanation.")

    return step_done


def as_images(rendered: Tensor) -> np.ndarray:
    """From what the decoder draws, in [-1, 1], to float32 images in [0, 1] of the same shape."""
    return np.asarray(((rendered + 1) / 2).clamp(0, 1).float().cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class Attempt:
    """One way of rendering edits.

    Attributes:
        depth: Time up to which the image is inverted, in (0, 1).
        guidance: How much the edit is exaggerated at strength 1.
        pull: How much the student leads the rendering at strength 1, see ``guidance``; it grows with the strength.
    """

    depth: float
    guidance: float = 0.0
    pull: float = 0.08


@dataclass(frozen=True)
class Inverted:
    """An image's own noise at one depth, and what the decoder makes of it, ``(1, channels, *size)`` in [0, 1]."""

    noise: Tensor
    plain: Tensor


class Renderer:
    """Renders edits of one image from its own noise, inverted once for all attempts of a depth.

    What is added to the image is the difference between the rendered edit and the rendered image itself: the
    autoencoder's own error cancels, and the fine detail stays the patient's.
    """

    def __init__(
        self,
        agent: Agent,
        steps: int,
        pixels: Tensor,
        code: Code,
        attempt: Attempt,
        bounds: Bounds | None,
        inverted: dict[float, Inverted],
        cancelled: Cancelled,
    ) -> None:
        self.agent, self.steps, self.pixels, self.code = agent, steps, pixels, code
        self.attempt, self.bounds, self._step_done = attempt, bounds, stopping(cancelled)
        if attempt.depth not in inverted:
            noise = invert(self._own, 2 * pixels - 1, attempt.depth, steps, self._step_done)
            plain = (render(self._own, noise, attempt.depth, steps, self._step_done) + 1) / 2
            inverted[attempt.depth] = Inverted(noise, plain)
        self.noise, self.plain = inverted[attempt.depth].noise, inverted[attempt.depth].plain
        self.reconstruction: np.ndarray = self.plain.clamp(0, 1)[0].float().cpu().numpy()

    def __call__(self, way: Way, strengths: Sequence[float]) -> np.ndarray:
        """Edited images ``(n, channels, *size)`` in [0, 1], one for each strength; one way for all or one for each."""
        count = len(strengths)
        base, noise = self.code.expand(count), self.noise.expand(count, *self.noise.shape[1:])
        strength = torch.tensor(strengths, device=noise.device, dtype=noise.dtype)
        moved = base.moved(way, strength.clamp(max=MIRRORED))
        field = edit_velocity(self.agent.model, base, moved, self.attempt.guidance * strength)
        if self.attempt.pull:
            pull, towards = self.attempt.pull * strength, way.towards.expand(count, -1)
            # What is added to the image is how the edit differs from the rendered image: it may, where the sum may.
            rendered = self.bounds.mapped(lambda x: 2 * (x + self.plain - self.pixels) - 1) if self.bounds else None
            field = guided(field, self.agent.model, towards, pull, self.agent.lead, rendered)
        edited = (render(field, noise, self.attempt.depth, self.steps, self._step_done) + 1) / 2
        change = shrunk(edited - self.plain, torch.full_like(strength, self.agent.lead.least))
        images = self.pixels + change
        images = (self.bounds.clamp(images) if self.bounds else images).clamp(0, 1)
        return np.asarray(images.float().cpu().numpy(), dtype=np.float32)

    def _own(self, x: Tensor, t: Tensor) -> Tensor:
        return self.agent.model.velocity(x, t, self.code)
