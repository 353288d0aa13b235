"""The interface of a classifier: batches of images in, probabilities out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from otherwise.errors import BundleError
from otherwise.images.image import Geometry, Image
from otherwise.images.kernels import KERNELS
from otherwise.images.resampling import FITS

_BODY_AXES = dict(R=0, L=0, A=1, P=1, S=2, I=2)


@dataclass(frozen=True)
class PatchSpec:
    """Placement of a classifier's patches over a whole image.

    Attributes:
        wanted: Classes to find; patches are ranked by the sum of their probabilities (multi-label: by the largest).
            Of a value: its direction of concern, see ``concern.Concern``.
        overlap: Share of its edge that a patch has in common with the next one, in [0, 1).
        foreground: Voxels above this value, in the image's own units, are foreground; None: all are.
        share: Least share of tissue in a patch, in [0, 1]; other patches are skipped.

    Raises:
        BundleError: if no class is wanted, one is wanted twice, or a share is out of range.
    """

    wanted: tuple[str, ...]
    overlap: float = 0.5
    foreground: float | None = None
    share: float = 0.25

    def __post_init__(self) -> None:
        if not self.wanted:
            raise BundleError(
                "A classifier of patches finds no class.",
                "Name those worth finding (--find a,b); of a value its direction of concern (--find higher).",
            )
        twice = [name for name in self.wanted if self.wanted.count(name) > 1]
        if twice:
            raise BundleError(f"Class {twice[0]!r} is to be found twice.", "Name each class once.")
        if not 0 <= self.overlap < 1 or not 0 <= self.share <= 1:
            raise BundleError(
                f"Patches cannot overlap by {self.overlap:g} or hold a share of {self.share:g} of tissue.",
                "Give an overlap from 0 to less than 1 and a share from 0 to 1.",
            )

    def check(self, classes: Sequence[str], multi_label: bool = False) -> None:
        """Refuse wanted classes that the classifier cannot find.

        Args:
            classes: Classes of the classifier.
            multi_label: Whether each class is a yes or no of its own.

        Raises:
            BundleError: if a wanted class is unknown, or all of mutually exclusive classes are wanted.
        """
        unknown = [name for name in self.wanted if name not in classes]
        if unknown:
            raise BundleError(
                f"There is no class {unknown[0]!r} to find.", f"Give some of {', '.join(classes)} (--find)."
            )
        if not multi_label and set(self.wanted) == set(classes):
            raise BundleError(
                "Every class is to be found, so that every patch is a find.", "Leave out what is normal (--find)."
            )


@dataclass(frozen=True)
class InputSpec:
    """Conversion of an image to a classifier's view, as declared in its bundle.

    The result, the *view*, is ``(channels, *size)`` in [0, 1] and always has columns first. ``TensorSpec`` converts
    it to the network's tensor.

    Attributes:
        size: Voxels along columns, rows and, for a 3-D classifier, slices.
        channels: Number of channels.
        spacing: Millimetres along each axis, or None: see ``fit``. With a spacing, a field of ``size * spacing``
            millimetres about the image's centre is resampled (outside the image: ``low``).
        intensity: ``(low, high)`` in the image's own units (for example HU); mapped linearly to [0, 1] and clipped.
        modality: DICOM modality such as "MG" or "CT".
        patches: Placement of patches, for a classifier of patches of larger images. None: a classifier of whole images.
        orientation: Anatomical directions of columns, rows and slices, such as ``LPS`` (``LP`` for 2-D); see
            ``images.resampling.model_grid``. None: as in the file.
        fit: How the field of view is fitted to ``size`` without a spacing; see ``model_grid``.
        interpolation: One of ``images.kernels.KERNELS``.
        own_window: Each image's own minimum and maximum are its window, and ``intensity`` is not used. For networks
            that normalise each image by itself.
        grey: Conversion of a coloured image to one channel: ``refuse``, ``luma`` (ITU-R BT.601, as
            Pillow and OpenCV) or ``mean``.
        pipeline: The bundle's own preprocessing where MONAI runs it (see ``monai_pipeline``); the fields above then
            merely describe its result.
        any_size: Whether views of other sizes are accepted too; agents are made for ``size``.
    """

    size: tuple[int, ...]
    channels: int = 1
    spacing: tuple[float, ...] | None = None
    intensity: tuple[float, float] = (0.0, 1.0)
    modality: str = "OT"
    patches: PatchSpec | None = None
    orientation: str | None = None
    fit: str = "stretch"
    interpolation: str = "gaussian"
    own_window: bool = False
    grey: str = "refuse"
    pipeline: Pipeline | None = field(default=None, compare=False, repr=False)
    any_size: bool = False

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
        limit = self.patches.foreground if self.patches is not None else None
        if limit is not None and not (math.isfinite(limit) and (self.own_window or low <= limit < high)):
            raise BundleError(
                f"Foreground above {limit:g} lies outside of the classifier's intensity range, {low:g} to {high:g}.",
                f"Give a value from {low:g} to less than {high:g}, in the image's own units (--foreground).",
            )
        self._check_geometry()

    def _check_geometry(self) -> None:
        dims, turns = len(self.size), self.orientation
        if turns is not None and (len(turns) != dims or len({_BODY_AXES.get(code) for code in turns} - {None}) != dims):
            raise BundleError(
                f"Orientation {turns!r} does not name {dims} directions of the body.",
                f"Give {'LPS or RAS' if dims == 3 else 'LP'}, or leave it out.",
            )
        kind, colon, edge = self.fit.partition(":")
        if kind not in FITS or (colon and not (kind == "crop" and edge.isdecimal() and int(edge) > 0)):
            raise BundleError(f"Field of view {self.fit!r} is unknown.", f"Give {', '.join(FITS)} or crop:256.")
        if self.spacing is not None and self.fit != "stretch":
            raise BundleError(
                f"A spacing and the field of view {self.fit!r} contradict each other.", "Give only one of them."
            )
        if self.interpolation not in KERNELS:
            raise BundleError(f"Interpolation {self.interpolation!r} is unknown.", f"Give {', '.join(KERNELS)}.")
        if self.grey not in ("refuse", "luma", "mean"):
            raise BundleError(f"Grey {self.grey!r} is unknown.", "Give refuse, luma or mean.")

    @property
    def spatial_dims(self) -> int:
        """Return 2 or 3."""
        return len(self.size)


@dataclass(frozen=True)
class Prepared:
    """An image after a bundle's own preprocessing.

    Attributes:
        array: ``(channels, i, j, k)`` float32 in units of the window.
        geometry: Its grid.
        window: ``(low, high)``, mapped to 0 and 1.
    """

    array: np.ndarray
    geometry: Geometry
    window: tuple[float, float]


class Pipeline(Protocol):
    """A preprocessing outside of this package."""

    def prepare(self, image: Image) -> Prepared:
        """Prepare one plane or volume.

        Raises:
            ImageError: if the image is not suitable.
        """
        ...


@runtime_checkable
class BlackBox(Protocol):
    """A classifier that is only used by its answers.

    Attributes:
        name: Name for people.
        version: Hash of its content; classifiers of the same version give the same answers.
        classes: Names in the order of the probabilities; at least two.
        inputs: Its input specification.
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
            ClassifierError: if the model does not return probabilities.
        """
        ...
