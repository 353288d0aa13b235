"""Train a regression of your own, and export it: the circumference of a fetal head, in millimetres.

The network marks the head and measures the area of its mark. Everything is differentiable, so that marks and
circumferences of HC18 (van den Heuvel et al., PLoS ONE 13(8):e0200412, 2018) teach it together. Otherwise sees nothing
but the number::

    python examples/head_circumference.py HC18 head_circumference.ts
    otherwise classifier import head_circumference.ts --output value --unit mm --range 30,420 --tolerance 3 ...
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.augmentation import Augmentation
from otherwise.blackbox.view import show
from otherwise.datasets.hc18 import heads, varied
from otherwise.images.image import Image

SPACING = 1.6
SPEC = InputSpec((96, 96), spacing=(SPACING, SPACING), intensity=(0, 255), modality="US")
SHAPE = 0.78
"""Width of a head, as a share of its length."""
STEEPNESS = 4.0
"""Factor of the logits after training. Marks are sharper than in training, so that faint ones add little area."""
AUGMENTATION = Augmentation(noise=0.15, turn=180, zoom=0)


class HeadCircumference(nn.Module):
    """Mark the head in ``(batch, 1, columns, rows)`` images in [0, 1], and return its circumference in mm."""

    def __init__(self) -> None:
        super().__init__()
        self.marker = UNet(
            2, 1, 1, channels=(16, 32, 64, 96), strides=(2, 2, 2), num_res_units=1, norm=("instance", {"affine": True})
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return ``(batch, 1)`` millimetres."""
        return circumference(torch.sigmoid(STEEPNESS * self.marker(images)[:, 0]), SPACING)[:, None]


def circumference(mark: Tensor, spacing: float) -> Tensor:
    """Return the circumference of an ellipse with the area of a mark and the shape of a head.

    Ramanujan's second approximation (Quarterly Journal of Mathematics 45, 1914) gives the circumference. Heads with a
    width of 0.74 or 0.82 of their length come out 0.5 % too small or 0.4 % too large.

    Args:
        mark: ``(batch, columns, rows)`` in [0, 1].
        spacing: Edge of a pixel, in the unit of the result.
    """
    flat = ((1 - SHAPE) / (1 + SHAPE)) ** 2
    long = spacing * (mark.sum((1, 2)) / (math.pi * SHAPE) + 1e-3).sqrt()
    return math.pi * long * (1 + SHAPE) * (1 + 3 * flat / (10 + math.sqrt(4 - 3 * flat)))


def shadowed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Darken a band of half of the images ``(batch, 1, columns, rows)``, as bones do: their heads stay as large."""
    count = len(images)
    angle, middle, width, left = torch.rand(4, count, 1, 1, generator=generator)
    axes = (torch.linspace(-1, 1, edge) for edge in images.shape[2:])
    columns, rows = torch.meshgrid(*axes, indexing="ij")
    across = columns * (math.pi * angle).cos() + rows * (math.pi * angle).sin() - (1.2 * middle - 0.6)
    band = torch.sigmoid(40 * (0.05 + 0.2 * width - across.abs()))
    shown = torch.rand(count, 1, 1, generator=generator) < 0.5
    return images * (1 - band * (1 - 0.6 * left) * shown)[:, None]


def read(folder: Path, split: str, copies: int) -> tuple[Tensor, Tensor]:
    """Return images with their marks ``(count, 2, columns, rows)``, and circumferences ``(count,)`` in mm."""
    pairs, lengths = [], []
    for head in heads(folder, split):
        for each in varied(head, copies):
            mark = Image(each.mask[None].astype(np.float32), each.image.geometry, "mark", 2, "US")
            pairs.append(np.concatenate([show(each.image, SPEC), show(mark, replace(SPEC, intensity=(0, 1)))]))
            lengths.append(each.circumference)
    return torch.from_numpy(np.stack(pairs)), torch.tensor(lengths, dtype=torch.float32)


def train(folder: Path, epochs: int, copies: int, seed: int = 0) -> nn.Module:
    """Train with AdamW, and return averaged weights.

    The loss is that of the marks (Dice and cross entropy) and, with a weight of 0.1, Huber's of the circumferences in
    centimetres.
    """
    (pairs, lengths), (unseen, truth) = read(folder, "train", copies), read(folder, "validation", 1)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = HeadCircumference()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = math.ceil(len(pairs) / 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=epochs, steps_per_epoch=steps)
    mark_loss, length_loss = DiceCELoss(sigmoid=True), nn.HuberLoss()
    for epoch in range(1, epochs + 1):
        network.train()
        for chosen in torch.randperm(len(pairs), generator=generator).split(32):
            images, marks = AUGMENTATION.move(pairs[chosen], generator).split(1, dim=1)
            logits = network.marker(shadowed(AUGMENTATION.disturb(images, generator), generator))
            measured = circumference(torch.sigmoid(logits[:, 0]), SPACING)
            loss = mark_loss(logits, marks) + 0.1 * length_loss(measured / 10, lengths[chosen] / 10)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
        average.eval()
        with torch.no_grad():
            error = (average(unseen[:, :1])[:, 0] - truth).abs().mean()
        print(f"Epoch {epoch} of {epochs}: mean error {error:.1f} mm on {len(truth)} validation images", flush=True)
    return average.module.eval()


def main() -> None:
    """Train, and write TorchScript."""
    parser = argparse.ArgumentParser(description="Train a regression of the circumference of fetal heads.")
    parser.add_argument("folder", type=Path, help="HC18: measurements.csv, image/ and mask/.")
    parser.add_argument("out", type=Path, help="TorchScript to write.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--copies", type=int, default=6, help="Cut and magnified copies of each training image.")
    given = parser.parse_args()
    network = train(given.folder, given.epochs, given.copies)
    torch.jit.trace(network, torch.zeros(2, 1, *SPEC.size)).save(str(given.out))


if __name__ == "__main__":
    main()
