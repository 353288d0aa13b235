"""Disturb images without changing their diagnosis: noise, streaks, blur, contrast, shifts, mirrors.

Pure functions, for training classifiers and for measuring their robustness. Images are ``(batch, channels, *size)``
tensors in [0, 1], and so are results. A level is one number, or one for each image, ``(batch,)``. Randomness comes from
the generator alone, which is on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers import gaussian_1d, separable_filtering
from torch import Tensor
from torch.nn import functional

Level = float | Tensor
"""One number for all images, or one for each of them."""


def white_noise(images: Tensor, level: Level, generator: torch.Generator) -> Tensor:
    """Add independent normal noise to every voxel.

    Args:
        images: ``(batch, channels, *size)`` in [0, 1].
        level: Standard deviation, as a share of the range.
        generator: Source of randomness.
    """
    return (images + _each(level, images) * _normal(images, generator)).clamp(0, 1)


def streaky_noise(
    images: Tensor, level: Level, generator: torch.Generator, axes: Sequence[int] = (0,), length: float = 4.0
) -> Tensor:
    """Add normal noise that is smooth along some axes, as sharp kernels and thin slices of CT leave it.

    Args:
        images: ``(batch, channels, *size)`` in [0, 1].
        level: Standard deviation, as a share of the range.
        generator: Source of randomness.
        axes: Spatial axes along which the noise is smoothed; 0 is along an image's rows.
        length: Standard deviation of the smoothing, in voxels.
    """
    kernel = gaussian_1d(torch.tensor(length))
    kernel = kernel / kernel.square().sum().sqrt()  # The smoothed noise has unit variance again.
    single = torch.ones(1)
    kernels = [kernel if axis in axes else single for axis in range(images.ndim - 2)]
    reach = len(kernel) // 2
    wider = [edge + 2 * reach * (axis in axes) for axis, edge in enumerate(images.shape[2:])]
    noise = torch.randn(*images.shape[:2], *wider, generator=generator)
    noise = separable_filtering(noise, kernels)
    inside = [
        slice(reach * (axis in axes), edge + reach * (axis in axes)) for axis, edge in enumerate(images.shape[2:])
    ]
    noise = noise[(slice(None), slice(None), *inside)].to(images.device)
    return (images + _each(level, images) * noise).clamp(0, 1)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of ``sigma`` voxels; border voxels are repeated outwards."""
    kernel = gaussian_1d(torch.tensor(sigma)).to(images.device)
    return separable_filtering(images, [kernel] * (images.ndim - 2), mode="replicate")


def contrasted(images: Tensor, factor: Level) -> Tensor:
    """Stretch each image's grey values by a factor about their mean."""
    mean = images.mean(dim=tuple(range(1, images.ndim)), keepdim=True)
    return (mean + _each(factor, images) * (images - mean)).clamp(0, 1)


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image along each axis with probability one half."""
    for axis in range(2, images.ndim):
        chosen = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(chosen.to(images.device).reshape(-1, *[1] * (images.ndim - 1)), images.flip(axis), images)
    return images


def turned(images: Tensor, degrees: float, zoom: float, generator: torch.Generator) -> Tensor:
    """Rotate each image about its centre and zoom it; border voxels are repeated outwards.

    Voxels are treated as squares or cubes. In 3-D the axis of rotation is random.

    Args:
        images: ``(batch, channels, *size)``.
        degrees: Largest angle, either way.
        zoom: Largest share by which an image is made larger or smaller.
        generator: Source of randomness.
    """
    count, dims = len(images), images.ndim - 2
    angle = torch.deg2rad(degrees * (2 * torch.rand(count, generator=generator) - 1))
    factor = 1 + zoom * (2 * torch.rand(count, generator=generator) - 1)
    spin = torch.zeros(count, dims, dims)
    if dims == 2:
        spin[:, 0, 1], spin[:, 1, 0] = -angle, angle
    else:
        axis = functional.normalize(torch.randn(count, 3, generator=generator), dim=1) * angle[:, None]
        spin[:, 0, 1], spin[:, 0, 2], spin[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
        spin = spin - spin.transpose(1, 2)
    matrix = torch.matrix_exp(spin) / factor[:, None, None]
    edges = torch.tensor(images.shape[:1:-1], dtype=matrix.dtype)  # The sampling grid is in units of half an edge.
    matrix = matrix * edges / edges[:, None]
    affine = torch.cat([matrix, torch.zeros(count, dims, 1)], dim=2).to(images)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def shifted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Shift each image by whole voxels along each axis, up to a share of its edge; border voxels are repeated."""
    size = images.shape[2:]
    reach = [int(share * edge) for edge in size]
    if not any(reach):
        return images
    wider = functional.pad(images, [edge for edge in reversed(reach) for _ in range(2)], mode="replicate")
    starts = torch.stack([torch.randint(2 * edge + 1, (len(images),), generator=generator) for edge in reach], dim=1)
    windows = [[slice(int(a), int(a) + edge) for a, edge in zip(start, size, strict=True)] for start in starts]
    return torch.stack([image[(slice(None), *window)] for image, window in zip(wider, windows, strict=True)])


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator).to(images.device)


def _each(level: Level, images: Tensor) -> Level:
    """Add trailing axes to a level for each image, so that it broadcasts against the images."""
    if not isinstance(level, Tensor):
        return level
    return level.to(images.device).view(-1, *[1] * (images.ndim - 1))
