"""Disturb training images, so that a classifier does not learn their grain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from otherwise.blackbox.perturbations import blurred, contrasted, mirrored, shifted, streaky_noise, turned, white_noise


@dataclass(frozen=True)
class Augmentation:
    """Strength of the disturbances of training images; 0 leaves a kind out.

    Every image is mirrored at random. Noise is white in half of the images, and smooth along some of the axes in the
    others: a classifier trained with white noise alone still mistakes streaks for signs.

    Attributes:
        noise: Highest standard deviation of the noise, as a share of the range. A fifth of the images gets none.
        blur: Highest standard deviation of the blur in voxels; half of the images are blurred.
        contrast: Grey values are stretched by a factor between ``1 - contrast`` and ``1 + contrast``.
        shift: Images are moved along each axis by up to this share of its edge.
        turn: Images are rotated by up to so many degrees; 180 for images without an upright orientation.
        zoom: Images are enlarged or shrunk by up to this share.
    """

    noise: float = 0.2
    blur: float = 1.2
    contrast: float = 0.3
    shift: float = 0.06
    turn: float = 10.0
    zoom: float = 0.05

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Move ``(batch, channels, *size)`` images in [0, 1], and disturb their grey values, each independently."""
        return self.disturb(self.move(images, generator), generator)

    def move(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror, shift, turn and zoom images, each independently; all channels of an image alike."""
        images = shifted(mirrored(images, generator), self.shift, generator)
        if self.turn or self.zoom:
            images = turned(images, self.turn, self.zoom, generator)
        return images

    def disturb(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Stretch the contrast of images, blur them and add noise, each independently."""
        count = len(images)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        if self.contrast:
            images = contrasted(images, uniform(1 - self.contrast, 1 + self.contrast))
        if self.blur:
            sigma = 0.3 + max(0.0, self.blur - 0.3) * float(torch.rand((), generator=generator))
            images = _some(0.5, blurred(images, sigma), images, generator)
        if self.noise:
            level = uniform(0, self.noise) * (uniform(0, 1) < 0.8)
            images = _some(
                0.5, white_noise(images, level, generator), self._streaks(images, level, generator), generator
            )
        return images

    def _streaks(self, images: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise that is smooth along some of the axes, at least one."""
        dims = images.ndim - 2
        smooth = torch.rand(dims, generator=generator) < 0.4
        smooth[int(torch.randint(dims, (), generator=generator))] = True
        length = 0.7 + 5.3 * float(torch.rand((), generator=generator)) ** 2
        return streaky_noise(images, level, generator, torch.nonzero(smooth).flatten().tolist(), length)


def _some(share: float, changed: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
    """Replace about a share of the images by their disturbed versions."""
    chosen = (torch.rand(len(images), generator=generator) < share).to(images.device)
    return torch.where(chosen.view(-1, *[1] * (images.ndim - 1)), changed, images)
