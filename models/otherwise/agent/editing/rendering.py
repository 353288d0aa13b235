"""Render edits of an image from its own inverted noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.bounds import Bounds
from otherwise.agent.editing.direction import EditDirection, edit_velocity
from otherwise.agent.editing.guidance import guided
from otherwise.agent.flow import StepDone, Velocity, integrate, integrate_partway
from otherwise.agent.operators import shrunk
from otherwise.errors import CancelledError

Cancelled = Callable[[], bool]
PARTWAY = (0.5, 0.0)
"""Greatest inversion depth, in 2-D and in 3-D, at which the cheaper solver was measured to be as good, see
``flow.integrate_partway``; it was not measured in 3-D."""
MIRRORED = 2.0
"""Strength at which the condition is mirrored in the boundary. Further conditions are unlike any image's."""


def stop_if_cancelled(cancelled: Cancelled) -> StepDone:
    """Return a callback that raises ``CancelledError`` after a solver step if ``cancelled`` returns True."""

    def step_done() -> None:
        if cancelled():
            raise CancelledError("The search was cancelled.", "Ask again when you want the explanation.")

    return step_done


def as_images(rendered: Tensor) -> np.ndarray:
    """Convert the decoder's output in [-1, 1] to float32 images in [0, 1] of the same shape."""
    return np.asarray(((rendered + 1) / 2).clamp(0, 1).float().cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True)
class EditSettings:
    """Settings for one edit.

    Attributes:
        inversion_depth: Time up to which the image is inverted, in (0, 1).
        guidance_scale: Weight of the change of evidence at strength 1, see ``edit_velocity``.
        student_guidance: Weight of the student's gradient at strength 1, see ``guidance``; it grows with the strength.
    """

    inversion_depth: float
    guidance_scale: float = 0.0
    student_guidance: float = 0.08


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
        condition: Conditioning,
        settings: EditSettings,
        bounds: Bounds | None,
        inverted: dict[float, Inverted],
        cancelled: Cancelled,
    ) -> None:
        self.agent, self.steps, self.pixels, self.condition = agent, steps, pixels, condition
        self.settings, self.bounds, self._step_done = settings, bounds, stop_if_cancelled(cancelled)
        if settings.inversion_depth not in inverted:
            noise = self._solve(self._own, 2 * pixels - 1, 0.0, settings.inversion_depth)
            plain = (self._solve(self._own, noise, settings.inversion_depth, 0.0) + 1) / 2
            inverted[settings.inversion_depth] = Inverted(noise, plain)
        self.noise, self.plain = inverted[settings.inversion_depth].noise, inverted[settings.inversion_depth].plain
        self.reconstruction: np.ndarray = self.plain.clamp(0, 1)[0].float().cpu().numpy()

    def __call__(self, direction: EditDirection, strengths: Sequence[float]) -> np.ndarray:
        """Return edited images ``(n, channels, *size)`` in [0, 1], one per strength.

        Args:
            direction: One for all, or a batch of one per strength.
            strengths: See ``SearchSettings.strengths``.
        """
        count = len(strengths)
        base, noise = self.condition.expand(count), self.noise.expand(count, *self.noise.shape[1:])
        strength = torch.tensor(strengths, device=noise.device, dtype=noise.dtype)
        moved = direction.applied(base, strength.clamp(max=MIRRORED))
        field = edit_velocity(self.agent.model, base, moved, self.settings.guidance_scale * strength)
        if self.settings.student_guidance:
            weight, towards = self.settings.student_guidance * strength, direction.towards.expand(count, -1)
            # What is added to the image is how the edit differs from the rendered image: it may, where the sum may.
            rendered = self.bounds.mapped(lambda x: 2 * (x + self.plain - self.pixels) - 1) if self.bounds else None
            field = guided(field, self.agent.model, towards, weight, self.agent.guidance_style, rendered)
        edited = (self._solve(field, noise, self.settings.inversion_depth, 0.0) + 1) / 2
        change = shrunk(edited - self.plain, torch.full_like(strength, self.agent.guidance_style.shrinkage))
        images = self.pixels + change
        images = (self.bounds.clamp(images) if self.bounds else images).clamp(0, 1)
        return np.asarray(images.float().cpu().numpy(), dtype=np.float32)

    def _solve(self, velocity: Velocity, start: Tensor, begin: float, end: float) -> Tensor:
        solve = integrate_partway if self.settings.inversion_depth <= PARTWAY[self.pixels.ndim - 4] else integrate
        return solve(velocity, start, begin, end, self.steps, self._step_done)

    def _own(self, x: Tensor, t: Tensor) -> Tensor:
        return self.agent.model.velocity(x, t, self.condition)
