"""A black box that looks at one bright square, and images with one: simple enough to know the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.blackbox.protocol import InputSpec
from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    ModelRef,
    PathPoint,
    Prediction,
    Region,
    Volumes,
)
from otherwise.images.image import Geometry, Image


@dataclass(frozen=True)
class SquareClassifier:
    """A classifier that says "bright" by the mean of the central square."""

    inputs: InputSpec
    name: str = "square"
    version: str = "1" * 64
    classes: tuple[str, ...] = ("dark", "bright")
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        centre = tuple(slice(edge // 4, edge - edge // 4) for edge in self.inputs.size)
        mean = images[(slice(None), 0, *centre)].reshape(len(images), -1).mean(axis=1).astype(np.float64)
        bright = 1 / (1 + np.exp(-20 * (mean - 0.5)))
        return np.stack([1 - bright, bright], axis=1)


def squares(size: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = 0.1 * rng.random((count, 1, *size), dtype=np.float32)
    centre = tuple(slice(edge // 4, edge - edge // 4) for edge in size)
    for image in images:
        image[(0, *centre)] += np.float32(rng.uniform(0.2, 0.7))
    return images.clip(0, 1)


def architecture(size: tuple[int, ...], channels: int = 1, classes: int = 2) -> Architecture:
    return Architecture(len(size), size, channels, classes, 8, channels=(16, 16), encoder_channels=(8, 8, 16, 16))


def with_random_weights(model: DiffusionAutoencoder) -> DiffusionAutoencoder:
    """Disturb all weights and return the network: an untrained one answers with zeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def eager_agent(classifier: SquareClassifier) -> Agent:
    """An agent whose decoder brightens or darkens the whole image with the way across the first two classes."""
    torch.manual_seed(0)
    inputs = classifier.inputs
    built = architecture(inputs.size, inputs.channels, len(classifier.classes))
    model = DiffusionAutoencoder(built).eval().requires_grad_(False)

    def velocity(noised: torch.Tensor, time: torch.Tensor, code: Conditioning) -> torch.Tensor:
        level = model.classify(code.latent)[:, :2].diff(dim=1)
        return -level.reshape(-1, *([1] * (noised.ndim - 1))).expand_as(noised) * 0.3

    model.velocity = velocity  # type: ignore[method-assign]
    return Agent(model, "eager", "2" * 64, classifier.version, torch.device("cpu"))


def toy_explanation(geometry: Geometry, channels: int = 1) -> Explanation:
    """An explanation of two regions in opposite corners, whose numbers are simple to check."""
    rng = np.random.default_rng(5)
    shape = geometry.shape
    background = rng.uniform(0.2, 0.4, (channels, *shape)).astype(np.float32)
    labels = np.zeros((1, *shape), np.uint8)
    labels[0, 1:5, 1:4, : max(1, shape[2] // 2)] = 1
    labels[0, 7:9, 6:8, shape[2] // 2 :] = 2
    change = 0.4 * (labels == 1) - 0.2 * (labels == 2)
    original = Image(background, geometry, "toy", 2 if shape[2] == 1 else 3)

    def edited(share: float) -> Image:
        return original.with_array((background + share * change).astype(np.float32))

    def says(bright: float) -> dict[str, float]:
        return {"dark": 1 - bright, "bright": bright}

    def region(label: int, effect: float) -> Region:
        voxels = np.argwhere(labels[0] == label)
        r, a, s = (float(x) for x in geometry.to_ras(voxels.mean(axis=0)))
        volume = len(voxels) * geometry.voxel_volume
        return Region(label, (r, a, s), volume, effect, label == 1, label == 1, label == 1)

    strengths, brightness = (0.0, 0.5, 1.0, 1.5), (0.1, 0.3, 0.8, 0.95)
    found = Counterfactual(True, says(0.8), 0.2, 0.05)
    return Explanation(
        id=f"toy-{channels}",
        image_id="toy",
        image_sha256=original.sha256,
        classifier=ModelRef("square", "1" * 64),
        agent=ModelRef("eager", "2" * 64),
        created="2026-11-22T08:00:00+00:00",
        seconds=1.0,
        queries=9,
        prediction=Prediction("dark", says(0.1)),
        target="bright",
        counterfactual=found,
        reconstruction_l1=0.01,
        minimal=found,
        path=tuple(PathPoint(s, says(p)) for s, p in zip(strengths, brightness, strict=True)),
        alternatives=(found,),
        regions=(region(1, 2.0), region(2, 0.5)),
        notes=(),
        volumes=Volumes(
            original=original,
            counterfactual=edited(1.0),
            difference=edited(1.0).with_array(edited(1.0).array - background),
            effect=original.with_array(np.abs(change).astype(np.float32) * 5),
            floor=original.with_array(np.full((1, *shape), 0.05, np.float32)),
            regions=original.with_array(labels),
            minimal=original.with_array(np.where(labels == 1, edited(1.0).array, background)),
            path=tuple(edited(s) for s in strengths),
            alternatives=(edited(1.2),),
        ),
    )
