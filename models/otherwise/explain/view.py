"""One image as the classifier sees it, and the mapping of an edit back onto the image's own grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import View, of_declared_size, view, view_on
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import (
    change_to_native,
    precompensated,
    precompensation,
    resample,
)


@dataclass(frozen=True)
class ClassifierView:
    """One image as the classifier sees it, and the mapping back to the image's own grid.

    Args:
        image: The image, in its own units and geometry.
        classifier: Its inputs say size, spacing and intensity.
        slice_index: For a 2-D classifier and a volume: the slice that is shown.
        centre: For a classifier of patches: the middle of the patch, RAS millimetres; None: the image's middle.

    Attributes:
        seen: What the classifier sees, where, and in which window.
        strengthening: Correction for the smoothing of two resamplings, see ``precompensation``.
        seam: ``size`` in [0, 1]; a change fades out towards the border of a patch.

    Raises:
        ImageError: if the image does not suit the classifier.
    """

    image: Image
    classifier: BlackBox
    slice_index: int | None
    centre: tuple[float, float, float] | None = None
    seen: View = field(init=False)
    strengthening: tuple[np.ndarray, ...] = field(init=False)
    seam: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        spec = self.classifier.inputs
        seen = of_declared_size(self.image, view(self.image, spec, self.slice_index, self.centre), spec)
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "strengthening", precompensation(seen.grid, self.image.geometry))
        object.__setattr__(
            self, "seam", _seam(spec.size) if self.centre is not None else np.ones(spec.size, np.float32)
        )

    @property
    def array(self) -> np.ndarray:
        """What the classifier sees: ``(channels, *size)`` float32 in [0, 1]."""
        return self.seen.array

    @property
    def grid(self) -> Geometry:
        """Where it lies."""
        return self.seen.grid

    def see(self, image: Image) -> np.ndarray:
        """Return a changed image on the same grid, in the same window: ``(channels, *size)`` float32 in [0, 1]."""
        return view_on(image, self.grid, self.classifier.inputs, self.seen.window).array

    def carry(self, edited: np.ndarray) -> Image:
        """Return the original with the change of an edited ``(channels, *size)``; its own fine detail stays.

        Where something changes, the original is first brought into the classifier's intensity window: beyond it a
        change would not be seen.
        """
        meant = precompensated((edited - self.array) * self.seam, self.strengthening)
        change = self.back(meant, self.seen.window)
        low, high = self.seen.window
        native = self.image.array.astype(np.float32)
        noticed = np.abs(change) > 1e-3 * (high - low)
        moved = np.where(noticed, (native.clip(low, high) + change).clip(low, high), native + change)
        return self.image.with_array(moved.astype(np.float32))

    def back(self, values: np.ndarray, window: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
        """Carry ``(channels, *size)`` onto the image's own grid; zero outside the classifier's field."""
        return change_to_native(values.astype(np.float32), self.grid, self.image, window)

    def labels_back(self, labels: np.ndarray) -> Image:
        """Carry a label map ``size`` onto the image's own grid."""
        flat = labels[..., None] if labels.ndim == 2 else labels
        onto = resample(Image(flat[None].astype(np.uint8), self.grid, "regions"), self.image.geometry, order=0)
        return self.image.with_array(onto.array.astype(np.uint8), "regions")


def _seam(size: tuple[int, ...], share: float = 0.08) -> np.ndarray:
    """Return weights ``size``: 1 inside a patch, a cosine ramp to 0 over the outer ``share`` of each edge."""
    weights = np.ones(size, np.float32)
    for axis, edge in enumerate(size):
        distance = np.minimum(np.arange(edge), np.arange(edge)[::-1])
        ramp = np.clip(distance / max(1.0, share * edge), 0, 1)
        weights *= (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32).reshape(-1, *[1] * (len(size) - 1 - axis))
    return weights
