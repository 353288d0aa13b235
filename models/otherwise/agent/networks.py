"""The three networks of the agent: semantic encoder, conditional denoiser, student.

The diffusion autoencoder follows Preechakul et al. (arXiv 2111.15640): a small latent describes the image, the inverted
noise holds the rest. The denoiser is conditioned on the latent and on the black box's answer (see ``conditioning``).
The student is linear in the latent, so that its decision boundary is a plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from monai.networks.nets import DiffusionModelUNet, ResNet
from torch import Tensor, nn
from torch.nn import functional

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.tiny_grids import exact_on_tiny_grids
from otherwise.errors import AgentError

LEVELS = ("layer1", "layer2", "layer3", "layer4")
"""The encoder's levels, as MONAI's residual network calls them."""
PREDICTIONS = ("velocity", "image")
"""What the denoiser's last layer says: the velocity, or what of the clean image a Wiener filter of its grain leaves."""
SPREAD = 0.5
"""Usual standard deviation of an image, in [-1, 1]."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the networks; everything needed to build them again.

    Attributes:
        spatial_dims: 2 or 3.
        size: Voxels along each axis, any number; inside, images are padded to what the levels can halve.
        image_channels: Channels of the images.
        classes: Number of the student's outputs.
        latent: Width of the semantic latent z.
        patch: Edge of the cubes folded into channels (lossless) before the denoiser's first convolution.
        channels: Width of the denoiser per level; each level halves the grid.
        encoder_channels: Widths of the encoder's four levels, divisible by 8.
        prediction: What the denoiser predicts, one of ``PREDICTIONS``, see ``velocity_from_image``.
        grain: Standard deviation of the images' grain, in [-1, 1], for a denoiser that predicts the image: what it
            draws has as much. 0.1 was used before it was measured of the training images.
    """

    spatial_dims: int
    size: tuple[int, ...]
    image_channels: int = 1
    classes: int = 2
    latent: int = 128
    patch: int = 2
    channels: tuple[int, ...] = (32, 64, 96)
    encoder_channels: tuple[int, ...] = (16, 32, 64, 128)
    prediction: str = "velocity"
    grain: float = 0.1

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise AgentError(f"A denoiser cannot predict {self.prediction!r}.", f"Known: {', '.join(PREDICTIONS)}.")

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> Architecture:
        """Read what ``to_dict`` wrote (JSON turns tuples into lists)."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def fold(images: Tensor, patch: int) -> Tensor:
    """Fold cubes of edge ``patch`` into channels: ``(b, c, p*i, p*j[, p*k]) -> (b, c*p**n, i, j[, k])``."""
    n = images.ndim - 2
    batch, channels, *size = images.shape
    split = [value for edge in size for value in (edge // patch, patch)]
    order = [0, 1, *(3 + 2 * axis for axis in range(n)), *(2 + 2 * axis for axis in range(n))]
    return (
        images.reshape(batch, channels, *split)
        .permute(order)
        .reshape(batch, channels * patch**n, *(edge // patch for edge in size))
    )


def unfold(folded: Tensor, patch: int) -> Tensor:
    """Undo ``fold``."""
    n = folded.ndim - 2
    batch, channels, *size = folded.shape
    split = folded.reshape(batch, channels // patch**n, *([patch] * n), *size)
    order = [0, 1, *(index for axis in range(n) for index in (2 + n + axis, 2 + axis))]
    return split.permute(order).reshape(batch, channels // patch**n, *(edge * patch for edge in size))


def padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last voxels of ``(b, c, *size)`` until each edge is a multiple of ``multiple``."""
    missing = [-edge % multiple for edge in images.shape[2:]]
    if not any(missing):
        return images
    return functional.pad(images, [value for edge in reversed(missing) for value in (0, edge)], mode="replicate")


def velocity_from_image(noised: Tensor, time: Tensor, predicted: Tensor, grain: float) -> Tensor:
    """Return the velocity ``noise - x`` from a prediction of the clean image ``x``.

    ``x = k x_t + c F``, where ``k`` is the Wiener filter of grain of standard deviation ``grain`` and the prediction
    ``F`` has unit variance at all times. A narrow denoiser cannot carry the noise of a large folded cube through its
    channels. The structure of an image lies on fewer dimensions (JiT, arXiv 2511.13720), and its grain, which does not,
    comes from ``x_t`` (preconditioning of Karras et al., arXiv 2206.00364, with the variance of the grain).

    Args:
        noised: ``x_t = (1 - t) x + t noise``, ``(b, channels, *size)``, of images in [-1, 1].
        time: ``t`` in [0, 1], ``(b, 1, ...)``.
        predicted: ``F``, ``(b, channels, *size)``.
        grain: Of the images, see ``Architecture``.
    """
    total = (1 - time) ** 2 * grain**2 + time**2
    kept = (1 - time) * grain**2 / total
    return (time - (1 - time) * grain**2) / total * noised - ((SPREAD * time / total) ** 2 + kept**2).sqrt() * predicted


class Encoder(nn.Module):
    """Semantic encoder: image ``(b, c, *size)`` to latent ``z (b, latent)``.

    MONAI's residual network with group normalisation. Mean and maximum over space are pooled, so z says what there is
    and leaves where to the inverted noise; a parameter-free batch normalisation gives every latent unit the same scale,
    so that distances in z mean something.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        widths = list(channels)
        self.resnet = ResNet(
            block="basic",
            layers=[1] * len(widths),
            block_inplanes=widths,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=3,
            conv1_t_stride=2,
            no_max_pool=True,
            feed_forward=False,
            norm=("group", {"num_groups": 8}),
        )
        self.project = nn.Linear(2 * widths[-1], latent)
        self.standardise = nn.BatchNorm1d(latent, affine=False, momentum=0.02)

    def levels(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of each level by name, ``(b, width, *size)``, never negative, the finest first."""
        net = self.resnet
        maps, found = net.act(net.bn1(net.conv1(images))), {}
        for name in LEVELS:
            maps = found[name] = getattr(net, name)(maps)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return the latent ``(b, latent)`` of images ``(b, c, *size)`` in [-1, 1]."""
        maps = self.levels(images)[LEVELS[-1]].flatten(2)
        return self.standardise(self.project(torch.cat([maps.mean(2), maps.amax(2)], dim=1)))


class Denoiser(nn.Module):
    """MONAI's diffusion U-Net: predicts the velocity, or the image, from the noised image, the time and the condition.

    The U-Net adds a class embedding to its time embedding in every residual block; with linear layers in the place of
    the embedding table the condition enters the same way.
    """

    def __init__(self, spatial_dims: int, folded_channels: int, channels: Sequence[int], condition: int) -> None:
        super().__init__()
        widths = list(channels)
        self.unet = DiffusionModelUNet(
            spatial_dims=spatial_dims,
            in_channels=folded_channels,
            out_channels=folded_channels,
            channels=widths,
            num_res_blocks=1,
            attention_levels=[False] * len(widths),
            num_head_channels=widths[-1],
            norm_num_groups=8,
            num_class_embeds=1,
        )
        embedding = nn.Sequential(
            nn.Linear(condition, 4 * widths[0]), nn.SiLU(), nn.Linear(4 * widths[0], 4 * widths[0])
        )
        self.unet.register_module("class_embedding", embedding)

    def forward(self, folded: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Predict from folded images ``(b, c, *size)`` at times ``(b,)``, given ``Conditioning.tensor()``."""
        return self.unet(folded, timesteps=1000.0 * time, class_labels=condition)


class DiffusionAutoencoder(nn.Module):
    """Encoder, denoiser and student in one module. Images are ``(b, channels, *size)`` in [0, 1]."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        dims, channels = architecture.spatial_dims, architecture.image_channels
        self.encoder = Encoder(dims, channels, architecture.encoder_channels, architecture.latent)
        condition = architecture.latent + architecture.classes + 1
        self.denoiser = Denoiser(dims, channels * architecture.patch**dims, architecture.channels, condition)
        self.student = nn.Linear(architecture.latent, architecture.classes)
        exact_on_tiny_grids(self)

    def encode(self, images: Tensor) -> Tensor:
        """Return the semantic latent ``z (b, latent)``."""
        return self.encoder(2 * images - 1)

    def velocity(self, noised: Tensor, time: Tensor, condition: Conditioning) -> Tensor:
        """Return the velocity ``(b, channels, *size)`` of images in [-1, 1], noised to ``time (b,)``."""
        patch = self.architecture.patch
        whole = padded(noised, patch * 2 ** (len(self.architecture.channels) - 1))
        predicted = unfold(self.denoiser(fold(whole, patch), time, condition.tensor()), patch)
        inside = (slice(None), slice(None), *(slice(edge) for edge in noised.shape[2:]))
        predicted = predicted[inside].to(noised.dtype)
        if self.architecture.prediction == "velocity":
            return predicted
        times = time.reshape(-1, *[1] * (noised.ndim - 1))
        return velocity_from_image(noised, times, predicted, self.architecture.grain)

    def classify(self, latent: Tensor) -> Tensor:
        """Return the student's logits ``(b, classes)``."""
        return self.student(latent)

    def student_gradient(self, images: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the gradient of a function of the student's logits with respect to the images.

        It works where gradients are off, too. Inference tensors cannot take part in one, hence the copy.

        Args:
            images: ``(b, channels, *size)`` in [0, 1].
            measure: Logits ``(b, classes)`` -> ``(b,)``.
        """
        with torch.inference_mode(False), torch.enable_grad():
            pixels = images.clone().detach().requires_grad_()
            (gradient,) = torch.autograd.grad(measure(self.classify(self.encode(pixels)).float()).sum(), pixels)
        return gradient

    def predict(self, images: Tensor, multi_label: bool) -> Tensor:
        """Return the student's probabilities ``(b, classes)`` for images ``(b, channels, *size)`` in [0, 1]."""
        logits = self.classify(self.encode(images)).float()
        return logits.sigmoid() if multi_label else logits.softmax(1)
