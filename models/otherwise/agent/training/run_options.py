"""The options of one training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import Architecture
from otherwise.agent.training.defaults import default_channels, default_prediction
from otherwise.agent.training.trainer import TrainingSettings
from otherwise.agent.training.views import Views
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import AgentError
from otherwise.images.listing import FoundImage


@dataclass(frozen=True)
class TrainingSession:
    """The options of a training, from the command line.

    Raises:
        AgentError: if the passes over the images have no end, or are none, or weights cannot be mixed.
    """

    classifier: BlackBox
    images: Path | tuple[Path | FoundImage, ...]
    out: Path
    architecture: Architecture
    settings: TrainingSettings
    """Its ``steps``, if it has any, are replaced by those of ``epochs``, or by as many as the images need."""
    epochs: float | None
    device: str
    resume: bool
    replace: bool
    threads: int | None
    name: str
    command: str
    views: Views | None = None
    """What the classifier sees of an image; None: the whole of it."""
    start: Agent | None = None
    """An agent whose weights are begun with; its decoder begins anew where ``architecture`` has another one."""
    start_share: float = 0.0
    """Share of the weights of ``start`` in those that are written, in [0, 1), see ``finishing.mix_weights``."""
    default_widths: bool = False
    """Whether the denoiser's widths follow from the images and their number, whatever ``architecture`` says."""
    default_prediction: bool = False
    """Whether what the denoiser predicts follows from its widths, whatever ``architecture`` says."""

    def __post_init__(self) -> None:
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise AgentError(
                f"A training cannot take {self.epochs:g} passes over the images.", "Give --epochs above 0, such as 20."
            )
        if not 0 <= self.start_share < 1:
            raise AgentError(
                f"The agent cannot keep a share of {self.start_share:g} of its first weights.",
                "Give a --start-share from 0 to less than 1.",
            )
        if self.start_share and not self.keeps_decoder:
            raise AgentError(
                "There are no first weights to mix with those that are learned: the decoder begins anew.",
                "Give --start AGENT without other --channels, --patch or --prediction, or leave --start-share out.",
            )

    def architecture_for(self, images: int) -> Architecture:
        """Return the sizes of the networks for so many training images."""
        known = self.architecture
        if self.default_widths:
            known = replace(known, channels=default_channels(known.size, images, known.image_channels))
        if self.default_prediction:
            prediction = default_prediction(known.spatial_dims, known.patch, known.image_channels, known.channels[0])
            known = replace(known, prediction=prediction)
        return known

    @property
    def keeps_decoder(self) -> bool:
        """Return whether the decoder of ``start`` is trained further.

        Size and grain of the images may differ: no weight depends on them.
        """
        if self.start is None:
            return False
        wanted = self.architecture
        return replace(self.start.model.architecture, size=wanted.size, grain=wanted.grain) == wanted

    @property
    def folder(self) -> Path:
        """Return the folder of checkpoint, prepared images and TensorBoard logs, beside the bundle."""
        return self.out.with_name(self.out.name + ".training")

    @property
    def checkpoint(self) -> Path:
        """Return the path of the last good checkpoint."""
        return self.folder / "checkpoint.pt"
