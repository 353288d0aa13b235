"""One direction in the latent for all images of a class pair."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.flow import invert, render
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.editing import encoded, first_that_flips, velocity_of
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, ReferenceImages


@dataclass
class GlobalDirection:
    """One direction in z for all images of a class pair, found on a single image with the black box alone.

    After Global Counterfactual Directions (Sobieski & Biecek, arXiv 2404.12488): z of one source image is disturbed,
    what is rendered is put to the black box, a small proxy learns to predict its answer from z, and the proxy's
    gradient at the source is the direction, followed as far as a line search on the black box says. The paper spends
    tens of thousands of queries for each direction; ``renders`` is what a user would wait for, and is counted.

    Attributes:
        renders: Disturbed images for each direction.
        steps: Solver steps each way.
        seed: Of everything random.
        queries: Spent on directions so far, which all images share.
    """

    renders: int = 512
    steps: int = 20
    seed: int = 0
    queries: int = 0
    _directions: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def __call__(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Follow the direction of the image's class pair; it is found on the first image that has none."""
        pixels, condition, target = encoded(agent, classifier, image)
        pair = (int(condition.evidence.argmax()), target)
        if pair not in self._directions:
            counted = CountingBlackBox(classifier)
            self._directions[pair] = self._find(agent, counted, pixels, condition, target)
            self.queries += counted.queries
        lengths = torch.linspace(0.5, 6.0, 8, device=agent.device)
        with torch.inference_mode():
            noise = invert(velocity_of(agent, condition), 2 * pixels - 1, 1.0, self.steps)
            latents = condition.latent + lengths[:, None] * self._directions[pair]
            moved = Conditioning(
                latents, condition.evidence.expand(len(lengths), -1), condition.known.expand(len(lengths), -1)
            )
            start = noise.expand(len(lengths), *noise.shape[1:])
            made = as_images(render(velocity_of(agent, moved), start, 1.0, self.steps))
        return first_that_flips(classifier, made, target)

    def _find(self, agent: Agent, classifier: BlackBox, pixels: Tensor, condition: Conditioning, target: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        latents, answers = [], []
        with torch.inference_mode():
            noise = invert(velocity_of(agent, condition), 2 * pixels - 1, 1.0, self.steps)
            for _ in range(self.renders // 32):
                # Lengths that the paper draws from, relative to the latent's own.
                scale = (
                    torch.rand(32, 1, generator=generator)
                    * float(condition.latent.norm())
                    / condition.latent.shape[1] ** 0.5
                )
                disturbed = condition.latent + (
                    scale * torch.randn(32, condition.latent.shape[1], generator=generator)
                ).to(pixels)
                some = Conditioning(disturbed, condition.evidence.expand(32, -1), condition.known.expand(32, -1))
                made = as_images(render(velocity_of(agent, some), noise.expand(32, *noise.shape[1:]), 1.0, self.steps))
                latents.append(disturbed.float().cpu())
                answers.append(torch.from_numpy(classifier.predict(made)).float())
        known, probabilities = torch.cat(latents).clone(), torch.cat(answers)
        proxy = _proxy(known, probabilities, generator, self.seed)
        source = condition.latent.detach().float().cpu().clone().requires_grad_()
        with torch.enable_grad():
            value = proxy(source)[0].log_softmax(0)[target]
            (gradient,) = torch.autograd.grad(value, source)
        return (gradient / gradient.norm().clamp_min(1e-12)).to(pixels)


def _proxy(latents: Tensor, answers: Tensor, generator: torch.Generator, seed: int) -> nn.Module:
    """Return a small network that predicts the black box's answer from z."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        proxy = nn.Sequential(
            nn.Linear(latents.shape[1], 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, answers.shape[1])
        )
    optimizer = torch.optim.AdamW(proxy.parameters(), lr=1e-3)
    with torch.enable_grad():
        for _ in range(60):
            for chosen in torch.randperm(len(latents), generator=generator).split(64):
                loss = nn.functional.cross_entropy(proxy(latents[chosen]), answers[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return proxy.eval()


def global_directions(references: ReferenceImages) -> tuple[EditMethod, ...]:
    """Return the method."""
    return (EditMethod("global-direction", "Global direction", "GCD, arXiv 2404.12488", GlobalDirection(), slow=True),)
