"""A synthetic image with everything that is true about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.image import Image
from otherwise.phantoms.hazard import Outcome

BENIGN = "benign"
MALIGNANT = "malignant"
NORMAL = "normal"
CLASSES = (BENIGN, MALIGNANT)

Attribute = bool | int | float | str
"""What an attribute may be: anything JSON can say in one word or number."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic image, its class, its features, and the same image as it would be in the other class.

    Attributes:
        image: What a classifier sees: grey values in [0, 1] (mammogram) or HU (nodule), float32.
        label: The true class, one of ``classes``.
        classes: All classes, in the order of a classifier's outputs.
        attributes: What a reader would say about it (size, margin, density ...), by name; lengths in millimetres.
        masks: For every feature its voxels, bool ``(i, j, k)`` on the image's grid; empty where it is absent.
        decisive: Name of the mask of the feature that makes the class: where the counterfactual differs.
        counterfactual: The same phantom (background, noise, position, size) with only the decisive feature swapped, or
            with the least change of its features to a target risk.
        outcome: Risk, time and event of a phantom of prognosis; None: it has none.

    Raises:
        ImageError: if label, decisive feature, a mask or the counterfactual do not fit together.
    """

    image: Image
    label: str
    classes: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    masks: Mapping[str, np.ndarray]
    decisive: str
    counterfactual: Image
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        if self.label not in self.classes or self.decisive not in self.masks:
            raise ImageError(
                f"The phantom has no class {self.label!r} or no mask {self.decisive!r}.", "Name one that it has."
            )
        shape = self.image.geometry.shape
        fits = all(mask.shape == shape and mask.dtype == np.bool_ for mask in self.masks.values())
        if not fits or not self.counterfactual.geometry.same_as(self.image.geometry):
            raise ImageError(
                "The phantom's masks and counterfactual do not lie on its image's grid.", "Make all on one grid."
            )


@dataclass(frozen=True)
class Lesion:
    """One lesion of a whole image.

    Attributes:
        number: From 1; its value in ``WholePhantom.labels``.
        label: Its class.
        centre_ras: Millimetres.
        attributes: See ``Phantom``.
    """

    number: int
    label: str
    centre_ras: tuple[float, float, float]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, eq=False)
class WholePhantom:
    """A synthetic image of whole size with no, one or several lesions.

    Attributes:
        image: Grey values in [0, 1] (mammogram) or HU (CT), float32.
        lesions: What there is to find.
        labels: uint8 ``(i, j, k)``: the number of the lesion that a voxel belongs to, 0 for none.
        foreground: bool ``(i, j, k)``: where the body is.
        attributes: What a reader would say about the whole.
        muscle: bool ``(i, j, k)``: where the pectoral muscle is; None: the kind has none.

    Raises:
        ImageError: if the masks do not fit the image.
    """

    image: Image
    lesions: tuple[Lesion, ...]
    labels: np.ndarray
    foreground: np.ndarray
    attributes: Mapping[str, Attribute]
    muscle: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.image.geometry.shape
        masks = [self.labels, self.foreground, *([] if self.muscle is None else [self.muscle])]
        if any(mask.shape != shape for mask in masks) or self.labels.max() > len(self.lesions):
            raise ImageError("The phantom's masks do not lie on its image's grid.", "Make all on one grid.")

    @property
    def label(self) -> str:
        """Return the worst of its lesions, or ``normal``."""
        labels = {lesion.label for lesion in self.lesions}
        return MALIGNANT if MALIGNANT in labels else BENIGN if labels else NORMAL
