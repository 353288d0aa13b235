"""What we ask of a classifier, and of nothing more: batches of images in, probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from otherwise.errors import BundleError


@dataclass(frozen=True)
class PatchSpec:
    """How a classifier of patches is brought over a whole image.

    Attributes:
        wanted: Classes worth finding; patches are ranked by the sum of their probabilities.
        overlap: Share of its edge that a patch has in common with the next one, in [0, 1).
        foreground: Voxels above this value, in the image's own units, are foreground; None: all are.
        share: Patches with a smaller share of foreground are not looked at.
    """

    wanted: tuple[str, ...]
    overlap: float = 0.5
    foreground: float | None = None
    share: float = 0.1

    def __post_init__(self) -> None:
        if not self.wanted:
            raise BundleError("A classifier of patches finds no class.", "Name those worth finding as wanted.")
        if not 0 <= self.overlap < 1 or not 0 <= self.share <= 1:
            raise BundleError(
                f"Patches cannot overlap by {self.overlap} or hold {self.share} foreground.", "Give shares below 1."
            )


@dataclass(frozen=True)
class InputSpec:
    """The images that a classifier wants, as written in its bundle.

    Attributes:
        size: Voxels along each spatial axis; its length (2 or 3) is the number of spatial dimensions.
        channels: Number of channels.
        spacing: Millimetres along each axis, or None: the whole field of view is resized to ``size``. With a spacing, a
            field of ``size * spacing`` millimetres about the image's centre is resampled (outside the image: ``low``).
        intensity: ``(low, high)`` in the image's own units (for example HU); mapped linearly to [0, 1] and clipped.
        modality: DICOM modality such as "MG" or "CT"; for people.
        patches: Where the classifier looks at patches of a larger image: how they are laid. None: it looks at all of
            an image at once.
    """

    size: tuple[int, ...]
    channels: int = 1
    spacing: tuple[float, ...] | None = None
    intensity: tuple[float, float] = (0.0, 1.0)
    modality: str = "OT"
    patches: PatchSpec | None = None

    def __post_init__(self) -> None:
        if self.patches is not None and self.spacing is None:
            raise BundleError("A classifier of patches does not say how large they are.", "Give its spacing.")
        low, high = self.intensity
        if len(self.size) not in (2, 3) or min(self.size) < 1 or self.channels < 1:
            raise BundleError(
                f"Input size {self.size} with {self.channels} channels is impossible.", "Give 2 or 3 sizes."
            )
        if self.spacing is not None and (len(self.spacing) != len(self.size) or min(self.spacing) <= 0):
            raise BundleError(f"Spacing {self.spacing} does not fit size {self.size}.", "Give a positive one per axis.")
        if not low < high:
            raise BundleError(f"Intensity window {self.intensity} is empty.", "Give low,high with low < high.")

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.size)


@runtime_checkable
class BlackBox(Protocol):
    """A classifier that we cannot look into.

    Attributes:
        name: Name for people.
        version: Hash of its content; two classifiers with the same version answer alike.
        classes: Names in the order of the probabilities; at least two.
        inputs: The images it wants.
        multi_label: False: probabilities of a row sum to one. True: each class is a yes or no of its own.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    inputs: InputSpec
    multi_label: bool

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify a batch.

        Args:
            images: ``(batch, channels, *size)`` float32 in [0, 1] (see ``InputSpec.intensity``).

        Returns:
            ``(batch, len(classes))`` float64 probabilities in [0, 1].

        Raises:
            ClassifierError: if what the model returned is no set of probabilities.
        """
        ...
