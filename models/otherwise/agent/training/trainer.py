"""Train the agent: one loop for the diffusion autoencoder and its student; no label is read."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.guidance import attention
from otherwise.agent.flow import noised, sample_times
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.precision import Precision
from otherwise.agent.training.checkpoint import load_checkpoint, save_checkpoint
from otherwise.agent.training.distillation import ask, distillation_loss, in_noise, perturbed, rendered
from otherwise.agent.training.distributed import Processes
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import AgentError


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training.

    Attributes:
        steps: Stop after so many steps; or
        minutes: stop after so much training time (whichever comes first; at least one must be given).
        batch: Images a step and process.
        learning_rate: Peak of a cosine schedule with a linear warm-up.
        student_weight: Weight of the distillation loss beside the flow loss.
        student_first: Share of the training in which the student learns alone, a fraction of a step's work: it may take
            long to see what the classifier looks at.
        student_noise: The student has to say of images in noise, up to this time of the flow (0: none), what the black
            box says of them without. Its lead then draws what the classes look like, not what misleads it.
        decoder_only: Encoder and student are good already and stay as they are: the denoiser alone learns, in less than
            a third of a step's work.
        focus: Share of the denoiser's loss that is weighted by how much the student makes of each voxel, in [0, 1):
            what decides may be so small that a loss over all voxels hardly knows it.
        withhold: Share of the images whose latent is withheld from the denoiser; see ``conditioning``.
        rendered_every: Steps between two batches of rendered images for the student.
        rendered_from: Share of the training after which the agent's own renderings are good enough to learn from.
        replay: How many rendered images are remembered.
        flips: Mirror images at random along these spatial axes.
        ema: Decay of the running average of the weights, which is what is kept.
        precision: Arithmetic of the forward pass, ``fp32`` or ``bf16``.
        seed: Every step's randomness depends on (seed, step, process) alone.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 16
    learning_rate: float = 6e-4
    student_weight: float = 1.0
    student_first: float = 0.0
    student_noise: float = 0.0
    decoder_only: bool = False
    focus: float = 0.0
    withhold: float = 0.5
    rendered_every: int = 8
    rendered_from: float = 0.25
    replay: int = 512
    flips: tuple[int, ...] = ()
    ema: float = 0.999
    precision: str = Precision.FP32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise AgentError("Training has no end.", "Give --epochs or --minutes.")
        if self.minutes is not None and not self.minutes > 0:
            raise AgentError(f"A training of {self.minutes:g} minutes learns nothing.", "Give --minutes above 0.")
        if self.batch < 1 or (self.steps is not None and self.steps < 1):
            raise AgentError("A training without a step or an image learns nothing.", "Give --batch 1 or more.")
        if not 0 <= self.student_first < 1:
            raise AgentError(f"The student cannot learn alone for {self.student_first:g} of the training.", "Give 0.2.")
        if not 0 <= self.student_noise < 1:
            raise AgentError(f"Images cannot go to noise for {self.student_noise:g} of the way.", "Give 0 to 0.9.")
        if not 0 <= self.focus < 1:
            raise AgentError(f"A share of {self.focus:g} of the loss cannot be focused.", "Give 0 to 0.9.")
        if self.precision not in (Precision.FP32, Precision.BF16):
            raise AgentError(f"An agent cannot be trained in {self.precision!r}.", "Give --precision fp32 or bf16.")
        if self.decoder_only and self.student_first:
            raise AgentError("Either the student learns first, or the decoder only.", "Leave one of them out.")

    def fraction(self, step: int, seconds: float) -> float:
        """Return the share of the training that is done, in [0, 1]."""
        by_steps = step / self.steps if self.steps else 0.0
        by_minutes = seconds / 60 / self.minutes if self.minutes else 0.0
        return min(1.0, max(by_steps, by_minutes))


class LossError(AgentError):
    """The loss is not a number."""


@dataclass(frozen=True)
class Losses:
    """Losses of one step, for the progress bar and the log."""

    flow: float
    student: float


class AgentObjective(nn.Module):
    """Both losses as one module, so that gradients of several processes are averaged in one place."""

    def __init__(self, model: DiffusionAutoencoder, multi_label: bool, student_weight: float) -> None:
        super().__init__()
        self.model = model
        self.multi_label = multi_label
        self.student_weight = student_weight

    def forward(
        self,
        images: Tensor,
        lessons: Tensor,
        answers: Tensor,
        known: Tensor,
        noise: Tensor,
        times: Tensor,
        student_only: bool = False,
        clear: bool = True,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return total, flow and student loss.

        ``lessons`` are further images for the student, or all that it learns from if it is not shown ``images``
        themselves (``clear``); ``answers`` cover both. ``known (b, 1)`` says for which images the denoiser gets the
        latent. With ``student_only`` the denoiser is left alone, and its loss is 0. ``weight (b, 1, *size)`` says how
        much each voxel counts for the denoiser. Without ``lessons`` and ``clear`` there is no student's loss.
        """
        everything, count = torch.cat([images, lessons]), len(images)
        first = 0 if clear else count
        if student_only:
            student = self._student_loss(self.model.encode(everything[first:]), answers[first:])
            return student, torch.zeros_like(student), student
        latent = self.model.encode(everything)
        student = self._student_loss(latent[first:], answers[first:]) if len(latent) > first else latent.new_zeros(())
        clean = 2 * images - 1
        condition = Conditioning(latent[:count], clipped_log_odds(answers[:count]), known)
        velocity = self.model.velocity(noised(clean, noise, times), times, condition)
        error = (velocity.float() - (noise - clean)).square()
        flow = (error if weight is None else error * weight).mean()
        return flow + self.student_weight * student, flow, student

    def _student_loss(self, latent: Tensor, answers: Tensor) -> Tensor:
        return distillation_loss(self.model.classify(latent).float(), answers, self.multi_label)


@dataclass
class Replay:
    """A ring buffer of rendered images and the black box's answers; the oldest entry is overwritten."""

    images: Tensor
    answers: Tensor
    filled: int = 0
    next: int = 0

    @classmethod
    def empty(cls, capacity: int, image_shape: tuple[int, ...], classes: int) -> Replay:
        """Reserve room for ``capacity`` images."""
        return cls(torch.zeros(capacity, *image_shape), torch.zeros(capacity, classes))

    def add(self, images: Tensor, answers: Tensor) -> None:
        """Remember a batch."""
        for image, answer in zip(images.cpu(), answers.cpu(), strict=True):
            self.images[self.next], self.answers[self.next] = image, answer
            self.next = (self.next + 1) % len(self.images)
            self.filled = min(self.filled + 1, len(self.images))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` at random (fewer while there are none)."""
        if not self.filled:
            return self.images[:0], self.answers[:0]
        index = torch.randint(self.filled, (count,), generator=generator)
        return self.images[index], self.answers[index]

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"images": self.images, "answers": self.answers, "filled": self.filled, "next": self.next}


@dataclass
class Trainer:
    """A training run that can be stopped at any step and resumed exactly.

    Attributes:
        model: The networks being trained.
        teacher: The black box; its probabilities are the only supervision.
        images: ``(n, channels, *size)`` float32 in [0, 1]; may be memory-mapped.
        settings: How to train.
        device: Where.
        processes: The other processes of a torchrun, if any.
    """

    model: DiffusionAutoencoder
    teacher: BlackBox
    images: np.ndarray
    settings: TrainingSettings
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise AgentError(f"{len(self.images)} images are too few to train on.", "Give a folder of many images.")
        self.step = 0
        self.seconds = 0.0
        self.taken: list[tuple[int, int]] = []
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        for part in (self.model.encoder, self.model.student):
            part.requires_grad_(not self.settings.decoder_only)
        objective = AgentObjective(self.model, self.teacher.multi_label, self.settings.student_weight)
        several, partly = self.processes.count > 1, self.settings.student_first > 0
        self.objective: nn.Module = (
            DistributedDataParallel(objective, find_unused_parameters=partly) if several else objective
        )
        learning = [part for part in self.model.parameters() if part.requires_grad]
        self.optimiser = torch.optim.AdamW(learning, lr=self.settings.learning_rate, weight_decay=1e-4)
        self.replay = Replay.empty(self.settings.replay, self.images.shape[1:], len(self.teacher.classes))

    @property
    def fraction(self) -> float:
        """Return the share that is done, in [0, 1]."""
        return self.settings.fraction(self.step, self.seconds)

    def run(self, after_step: Callable[[Trainer, Losses], None] = lambda trainer, losses: None) -> None:
        """Train to the end; ``after_step`` may show progress, save, validate or raise to stop."""
        while self.fraction < 1:
            started = time.perf_counter()
            losses = self.advance()
            self.seconds = self.processes.agree(self.seconds + time.perf_counter() - started)
            after_step(self, losses)

    def advance(self) -> Losses:
        """Take one step."""
        generator = self._generator()
        images = self._batch(generator)
        clear = not self.settings.student_noise and not self.settings.decoder_only
        lessons, answers = self._lessons(images, clear, generator)
        noise = torch.randn(images.shape, generator=generator).to(self.device)
        times = sample_times(len(images), generator, self.device)
        known = (torch.rand(len(images), 1, generator=generator) >= self.settings.withhold).float().to(self.device)
        alone = self.fraction < self.settings.student_first
        weight = self._weight(images, generator) if self.settings.focus and not alone else None

        self._set_learning_rate()
        self.model.train()
        self.model.encoder.train(not self.settings.decoder_only)
        with self._autocast():
            total, flow, student = self.objective(images, lessons, answers, known, noise, times, alone, clear, weight)
        if not torch.isfinite(total):
            raise LossError(f"The loss is not a number at step {self.step}.", "Lower --learning-rate.")
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        self._count_step()
        renders_from = max(self.settings.rendered_from, self.settings.student_first)
        taught = not self.settings.decoder_only and self.fraction >= renders_from
        if taught and self.step % self.settings.rendered_every == 0:
            self._render(generator)
        return Losses(float(flow.detach()), float(student.detach()))

    def _count_step(self) -> None:
        """Note one more step of this batch size; a resumed run may have another one."""
        batch = self.settings.batch * self.processes.count
        if self.taken and self.taken[-1][0] == batch:
            self.taken[-1] = (batch, self.taken[-1][1] + 1)
        else:
            self.taken.append((batch, 1))

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        save_checkpoint(
            {
                "step": self.step,
                "seconds": self.seconds,
                "taken": [list(part) for part in self.taken],
                "architecture": self.model.architecture.to_dict(),
                "teacher": self.teacher.version,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "replay": self.replay.state(),
            },
            path,
        )

    def resume(self, path: Path) -> None:
        """Continue from the state that ``save`` wrote.

        Raises:
            AgentError: if the checkpoint is missing, damaged, or of another classifier or architecture.
        """
        state = load_checkpoint(path)
        if state["teacher"] != self.teacher.version:
            raise AgentError("The checkpoint was taught by another classifier.", "Start without --resume.")
        saved, wanted = Architecture.from_dict(state["architecture"]), self.model.architecture
        if replace(saved, grain=wanted.grain) != wanted:
            raise AgentError(
                "The checkpoint has networks of other sizes, or that predict something else, or of other images.",
                "Give the first run's --channels, --patch, --latent and --prediction (velocity in runs of before), "
                "or start without --resume.",
            )
        if saved.grain != wanted.grain:
            raise AgentError(
                f"The checkpoint is of images with grain of {saved.grain:g}; these have {wanted.grain:g}.",
                "Give the first run's images. If an earlier version wrote it: start without --resume, "
                "with --start AGENT if its bundle was written.",
            )
        self.step, self.seconds = state["step"], state["seconds"]
        whole = self.settings.batch * self.processes.count
        self.taken = [(batch, steps) for batch, steps in state.get("taken", [(whole, self.step)])]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.replay = Replay(**state["replay"])

    def _lessons(self, images: Tensor, clear: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return further images for the student, and the answers to ``images`` (if ``clear``) and to these."""
        if self.settings.decoder_only:
            return images[:0], ask(self.teacher, images)
        disturbed = perturbed(images, generator)
        answers = ask(self.teacher, torch.cat([images, disturbed]))
        remembered, remembered_answers = self.replay.draw(max(1, len(images) // 2), generator)
        lessons = torch.cat([disturbed, remembered.to(self.device)])
        answers = torch.cat([answers, remembered_answers.to(self.device)])
        if clear:
            return lessons, answers
        lessons = in_noise(torch.cat([images, lessons]), self.settings.student_noise, generator)
        return lessons, torch.cat([answers[: len(images)], answers])

    def _weight(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the weight of each voxel in the denoiser's loss, ``(b, 1, *size)``."""
        towards = torch.randn(len(images), len(self.teacher.classes), generator=generator).to(self.device)
        return 1 - self.settings.focus + self.settings.focus * attention(self.average, images, towards)

    def _generator(self) -> torch.Generator:
        seed = np.random.SeedSequence([self.settings.seed, self.step, self.processes.rank]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(seed[0]) >> 1)

    def _batch(self, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(self.images), (self.settings.batch,), generator=generator).sort().values
        images = torch.from_numpy(np.ascontiguousarray(self.images[index.numpy()])).float()
        for axis in self.settings.flips:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images[mirrored] = images[mirrored].flip(2 + axis)
        return images.to(self.device)

    def _autocast(self) -> torch.autocast:
        """Return the context in which the networks compute in the precision of the settings."""
        rounded = self.settings.precision == Precision.BF16
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=rounded)

    def _set_learning_rate(self) -> None:
        warm_up = min(1.0, (self.step + 1) / 200)
        rate = self.settings.learning_rate * warm_up * (0.02 + 0.98 * (1 + math.cos(math.pi * self.fraction)) / 2)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
        for buffer, newer in zip(self.average.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(newer)

    def _render(self, generator: torch.Generator) -> None:
        images = self._batch(generator)[:8]
        with self._autocast():
            answers = ask(self.teacher, images)
            made = rendered(self.average, images, answers, self.teacher.multi_label, generator).float()
        self.replay.add(made, ask(self.teacher, made))
