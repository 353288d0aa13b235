"""Bring a classifier of patches over a whole image, and keep the best patch of each place.

The image is resampled to the classifier's spacing once; patches are cut out of that, half overlapping, where there is
foreground. Finds that overlap are merged by non-maximum suppression in millimetres (both by MONAI).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data.box_utils import non_max_suppression
from monai.data.utils import dense_patch_slices

from otherwise.blackbox.protocol import BlackBox, InputSpec, PatchSpec
from otherwise.errors import ClassifierError, ImageError
from otherwise.images.image import Geometry, Image, check_content
from otherwise.images.resampling import model_grid, resample

BATCH = 64
MOST_COMMON = 0.1
"""Two patches that share more than this (intersection over union) show the same thing."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Find:
    """A patch worth a look.

    Attributes:
        rank: From 1; the most probable first.
        probability: Of the wanted classes together.
        probabilities: Of every class, by name.
        centre_ras: Of the patch, millimetres.
        size_mm: Of the patch along the image's own axes i, j, k.
        low, high: The native voxels that the patch covers, first and one past the last; within the image.
    """

    rank: int
    probability: float
    probabilities: Mapping[str, float]
    centre_ras: tuple[float, float, float]
    size_mm: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]


class Finder:
    """Finds with one classifier of patches.

    Args:
        classifier: The black box; its inputs say how patches are laid.

    Raises:
        ClassifierError: if it looks at whole images, or wants a class that it has not.
    """

    def __init__(self, classifier: BlackBox) -> None:
        inputs = classifier.inputs
        if inputs.patches is None or inputs.spacing is None:
            raise ClassifierError(
                f"{classifier.name} looks at whole images, so there is nothing to find.", "Explain the image itself."
            )
        missing = [name for name in inputs.patches.wanted if name not in classifier.classes]
        if missing:
            raise ClassifierError(f"{classifier.name} has no class {missing[0]!r}.", "Correct its bundle's patches.")
        self.classifier = classifier
        self.inputs: InputSpec = inputs
        self.patches: PatchSpec = inputs.patches
        self.spacing: tuple[float, ...] = inputs.spacing

    def find(
        self,
        image: Image,
        slice_index: int | None = None,
        most: int = 20,
        progress: Progress = lambda fraction: None,
    ) -> list[Find]:
        """Look at every patch of an image.

        Args:
            image: 2-D, or a volume; in its own units.
            slice_index: For a 2-D classifier and a volume: which slice.
            most: Most finds.
            progress: Told the share of the patches looked at; may raise to cancel.

        Returns:
            The best patch of each place, the most probable first.

        Raises:
            ImageError: if the image has no foreground, or does not suit the classifier.
        """
        check_content(image)
        grid = self.grid(image, slice_index)
        voxels, foreground = self._resampled(image, grid)
        size = self.inputs.size
        scan = tuple(max(1, round(edge * (1 - self.patches.overlap))) for edge in size)
        starts = np.array([[cut.start for cut in cuts] for cuts in dense_patch_slices(foreground.shape, size, scan)])
        held = np.array([foreground[_window(start, size)].mean() for start in starts])
        starts = starts[held >= max(self.patches.share, 1e-9)]
        if not len(starts):
            raise ImageError(
                f"Image {image.id} has no foreground above {self.patches.foreground:g}."
                if self.patches.foreground is not None
                else f"Image {image.id} has no foreground.",
                "Check that it has the units which the classifier wants.",
            )
        answers = self._ask(voxels, starts, progress)
        wanted = [self.classifier.classes.index(name) for name in self.patches.wanted]
        scores = answers[:, wanted].sum(axis=1) if not self.classifier.multi_label else answers[:, wanted].max(axis=1)
        kept = self._suppress(starts, scores)[:most]
        return [self._describe(rank, starts[n], answers[n], scores[n], grid, image) for rank, n in enumerate(kept, 1)]

    def rank(self, image: Image, rank: int, slice_index: int | None = None) -> Find:
        """The find of one rank.

        Raises:
            ImageError: if there are fewer; see also ``find``.
        """
        finds = self.find(image, slice_index, most=rank)
        if len(finds) < rank:
            raise ImageError(f"Image {image.id} has {len(finds)} finds and no number {rank}.", "Choose a smaller one.")
        return finds[rank - 1]

    def grid(self, image: Image, slice_index: int | None = None) -> Geometry:
        """The classifier's spacing over the whole image, at least one patch large along each axis."""
        plane = image.geometry if slice_index is None else image.geometry.slice(slice_index)
        if len(self.inputs.size) == 2 and slice_index is None and image.geometry.shape[2] > 1:
            model_grid(image.geometry, self.inputs.size, self.spacing)  # says what to do
        extent = [count * step for count, step in zip(plane.shape, plane.spacing, strict=True)]
        size = tuple(
            max(edge, round(length / step))
            for edge, length, step in zip(self.inputs.size, extent, self.spacing, strict=False)
        )
        return model_grid(image.geometry, size, self.spacing, slice_index)

    def _resampled(self, image: Image, grid: Geometry) -> tuple[np.ndarray, np.ndarray]:
        """``(channels, *size)`` in [0, 1] on the grid, and where there is foreground: ``size``."""
        low, high = self.inputs.intensity
        array = resample(image, grid, order=1, outside=low).array.astype(np.float32)
        limit = self.patches.foreground
        foreground = np.ones(array.shape[1:], bool) if limit is None else (array > limit).any(axis=0)
        scaled = np.clip((array - np.float32(low)) / np.float32(high - low), 0, 1)
        flat = len(self.inputs.size) == 2
        return (scaled[..., 0], foreground[..., 0]) if flat else (scaled, foreground)

    def _ask(self, voxels: np.ndarray, starts: np.ndarray, progress: Progress) -> np.ndarray:
        answers = []
        for begin in range(0, len(starts), BATCH):
            progress(begin / len(starts))
            windows = [_window(start, self.inputs.size) for start in starts[begin : begin + BATCH]]
            answers.append(self.classifier.predict(np.stack([voxels[(slice(None), *window)] for window in windows])))
        progress(1.0)
        return np.concatenate(answers)

    def _suppress(self, starts: np.ndarray, scores: np.ndarray) -> Sequence[int]:
        step = np.array(self.spacing)
        low = starts * step
        boxes = torch.from_numpy(np.concatenate([low, low + np.array(self.inputs.size) * step], axis=1)).float()
        kept = non_max_suppression(boxes, torch.from_numpy(scores), nms_thresh=MOST_COMMON, max_proposals=-1)
        return [int(index) for index in kept]

    def _describe(
        self, rank: int, start: np.ndarray, answer: np.ndarray, score: float, grid: Geometry, image: Image
    ) -> Find:
        size = (*self.inputs.size, 1)[:3]
        first = np.array([*start, 0][:3], float)
        native = image.geometry
        x, y, z = (float(value) for value in grid.to_ras(first + (np.array(size) - 1) / 2))
        i, j, k = (float(edge * step) for edge, step in zip(size, grid.spacing, strict=True))
        # Voxels whose centre lies within the patch's outer edges.
        edges = native.to_index(grid.to_ras(np.stack([first - 0.5, first + np.array(size) - 0.5])))
        low = np.clip(np.ceil(edges.min(axis=0) - 1e-6), 0, np.array(native.shape) - 1).astype(int)
        high = np.clip(np.floor(edges.max(axis=0) + 1e-6) + 1, low + 1, native.shape).astype(int)
        named = {name: float(value) for name, value in zip(self.classifier.classes, answer, strict=True)}
        return Find(rank, float(score), named, (x, y, z), (i, j, k), _three(low), _three(high))


def _window(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(a) + edge) for a, edge in zip(start, size, strict=True))


def _three(index: np.ndarray) -> tuple[int, int, int]:
    i, j, k = (int(part) for part in index)
    return (i, j, k)
