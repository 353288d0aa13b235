"""Bring a classifier of patches over a whole image, and keep the best patch of each place.

The image is resampled to the classifier's spacing slab by slab, so that memory does not grow with it. A coarse pass
asks about patches that overlap by half, where there is tissue; a fine pass asks about more of them around those that
are suspicious. Finds that overlap are merged by non-maximum suppression in millimetres (by MONAI).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from monai.data.box_utils import non_max_suppression
from monai.data.utils import dense_patch_slices

from otherwise.blackbox.protocol import BlackBox, InputSpec, PatchSpec
from otherwise.blackbox.view import grid_of, suited_channels
from otherwise.errors import ClassifierError, ImageError
from otherwise.finding.finer import finer_starts
from otherwise.finding.scan import Scan
from otherwise.finding.tissue import TissueMap
from otherwise.images.image import Geometry, Image, check_content
from otherwise.images.resampling import resample, turned, windowed

BATCH = 64
MOST_VOXELS = 24_000_000
"""Of the resampled image that are held at once; a patch may need more."""
MOST_COMMON = 0.1
"""Two patches that share more than this (intersection over union) show the same thing."""

Progress = Callable[[float], None]
Index = tuple[int, int, int]


@dataclass(frozen=True)
class Find:
    """A patch that is worth explaining.

    Attributes:
        rank: From 1; the most probable first. 0: a patch that somebody chose.
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


@dataclass(frozen=True)
class PatchScores:
    """What the classifier said of every patch of an image.

    Attributes:
        native: The image's own grid.
        grid: The classifier's spacing over the whole image.
        starts: ``(patches, 2 or 3)`` first voxel of each patch on ``grid``.
        answers: ``(patches, classes)`` probabilities.
        coarse: How many of the patches, the first ones, are of the coarse pass.
    """

    native: Geometry
    grid: Geometry
    starts: np.ndarray
    answers: np.ndarray
    coarse: int


@dataclass(frozen=True, eq=False)
class _Box:
    """Voxels ``(channels, *edges)`` of a grid, in the image's own units, and the first of them."""

    first: np.ndarray
    voxels: np.ndarray


class Finder:
    """Finds with one classifier of patches.

    Args:
        classifier: The black box; its inputs say how patches are laid.
        scan: What is wanted otherwise.

    Raises:
        ClassifierError: if it looks at whole images, or wants a class that it has not.
        BundleError: if a setting is impossible.
    """

    def __init__(self, classifier: BlackBox, scan: Scan | None = None) -> None:
        self.scan = scan or Scan()
        inputs = self.scan.inputs(classifier.inputs)
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

    def score(
        self, image: Image, slice_index: int | None = None, progress: Progress = lambda fraction: None
    ) -> PatchScores:
        """Ask about every patch of an image that holds tissue, and about more around the suspicious ones.

        Args:
            image: 2-D, or a volume; in its own units.
            slice_index: For a 2-D classifier and a volume: which slice.
            progress: Told the share of the patches looked at; may raise to cancel.

        Raises:
            ImageError: if the image holds no tissue, or does not suit the classifier.
        """
        check_content(image)
        grid = self.grid(image, slice_index)
        size, dims = self.inputs.size, len(self.inputs.size)
        every = dense_patch_slices(grid.shape[:dims], size, tuple(self._step.tolist()))
        starts = self._on_tissue(image, grid, np.array([[cut.start for cut in cuts] for cuts in every]))
        if not len(starts):
            above = f" above {self.patches.foreground:g}" if self.patches.foreground is not None else ""
            raise ImageError(
                f"No patch of image {image.id} holds a share of {self.patches.share:g} of tissue{above}.",
                "Check that it has the units which the classifier wants (--foreground, --share).",
            )
        answers, box = self._scan(image, grid, starts, lambda part: progress(part / 2))
        scores = PatchScores(image.geometry, grid, starts, answers, len(starts))
        more = self._finer(scores, image)
        if len(more):
            said, _ = self._scan(image, grid, more, lambda part: progress(0.5 + part / 2), box)
            scores = _joined(scores, more, said)
        progress(1.0)
        return scores

    @property
    def _step(self) -> np.ndarray:
        """Voxels between the patches of the coarse pass along each axis."""
        return np.array([max(1, round(edge * (1 - self.patches.overlap))) for edge in self.inputs.size])

    def _on_tissue(self, image: Image, grid: Geometry, starts: np.ndarray) -> np.ndarray:
        """Return those patches that hold enough tissue, and some."""
        shares = TissueMap(image, self.inputs).shares(starts, grid)
        return starts[shares >= max(self.patches.share, 1e-9)]

    def _finer(self, scores: PatchScores, image: Image) -> np.ndarray:
        """Return patches of the fine pass that have not been asked about: none if no such pass is wanted."""
        dims = len(self.inputs.size)
        if not self.scan.fine:
            return scores.starts[:0]
        coarse, wanted = scores.starts[: scores.coarse], self.wanted(scores)[: scores.coarse]
        limit = np.array(scores.grid.shape[:dims]) - self.inputs.size
        more = finer_starts(coarse, wanted, self._step, limit)
        known = {tuple(start) for start in scores.starts[scores.coarse :].tolist()}
        new = np.array([tuple(start) not in known for start in more.tolist()], bool)
        return self._on_tissue(image, scores.grid, more[new]) if new.any() else more[:0]

    def _scan(
        self,
        image: Image,
        grid: Geometry,
        starts: np.ndarray,
        progress: Progress,
        box: _Box | None = None,
    ) -> tuple[np.ndarray, _Box | None]:
        """Ask about patches, slab by slab.

        Args:
            image: The image.
            grid: The classifier's spacing over all of it.
            starts: ``(patches, 2 or 3)`` first voxels, in the order of their rows.
            progress: Told the share done.
            box: Voxels that hold all these patches, if there are any.

        Returns:
            ``(patches, classes)`` answers, and the voxels if one slab held all patches, half a step around included.
        """
        size, reach = np.array(self.inputs.size), self._step // 2
        last = np.array(grid.shape[: len(size)])
        slabs = _slabs(starts, int(size[0]), voxels=int(np.prod(grid.shape[1:])) * self.inputs.channels)
        slabs = slabs if box is None else [starts]
        answers = []
        for number, some in enumerate(slabs):

            def within(part: float, number: int = number) -> None:
                progress((number + part) / len(slabs))

            if box is None or len(slabs) > 1:
                first = np.maximum(some.min(axis=0) - reach, 0)
                stop = np.minimum(some.max(axis=0) + size + reach, last)
                box = _Box(first, self._around(image, grid, first, stop))
            answers.append(self._ask(box.voxels, some - box.first, within))
        return np.concatenate(answers), box if len(slabs) == 1 else None

    def rescore(self, scores: PatchScores, image: Image, part: Image, low: tuple[int, int, int]) -> PatchScores:
        """The same after a part of the image was changed: only the patches that see it are asked again.

        Where a patch becomes suspicious, more patches around it are asked about.

        Args:
            scores: What was said of ``image``.
            image: As it was.
            part: The changed voxels.
            low: Where they begin in ``image``.
        """
        low_in_grid, high_in_grid = _box_within(part.geometry, scores.grid)
        dims = len(self.inputs.size)
        size = np.array(self.inputs.size)
        # A patch sees a little beyond its border, where larger voxels are made of smaller ones.
        sees = (scores.starts - 1 < high_in_grid[:dims]) & (scores.starts + size + 1 > low_in_grid[:dims])
        seeing = np.flatnonzero(sees.all(axis=1))
        if not len(seeing):
            return scores
        answers = scores.answers.copy()

        def ask(starts: np.ndarray) -> np.ndarray:
            first, last = starts.min(axis=0), starts.max(axis=0) + size
            voxels = self._around(image, scores.grid, first, last, part, low)
            return self._ask(voxels, starts - first, lambda fraction: None)

        answers[seeing] = ask(scores.starts[seeing])
        again = replace(scores, answers=answers)
        more = self._finer(again, image)
        return _joined(again, more, ask(more)) if len(more) else again

    def finds(self, scores: PatchScores, most: int = 20) -> list[Find]:
        """The best patch of each place, the most probable first."""
        wanted = self.wanted(scores)
        return [self._describe(rank, scores, n, wanted[n]) for rank, n in enumerate(self.best(scores)[:most], 1)]

    def best(self, scores: PatchScores) -> list[int]:
        """Numbers of the best patch of each place, the most probable first."""
        return self._suppress(scores.starts, self.wanted(scores))

    def voxels(self, image: Image, scores: PatchScores, number: int) -> np.ndarray:
        """A patch of an image as the classifier sees it: ``(channels, *size)`` in [0, 1]."""
        first = scores.starts[number]
        return self._shown(self._around(image, scores.grid, first, first + self.inputs.size))

    def wanted(self, scores: PatchScores) -> np.ndarray:
        """``(patches,)``: how probable it is that a patch shows what is wanted."""
        return self._wanted(scores.answers)

    def find(
        self,
        image: Image,
        slice_index: int | None = None,
        most: int = 20,
        progress: Progress = lambda fraction: None,
    ) -> list[Find]:
        """Return the best patches of an image; see ``score`` and ``finds``."""
        return self.finds(self.score(image, slice_index, progress), most)

    def rank(self, scores: PatchScores, rank: int) -> Find:
        """The find of one rank.

        Raises:
            ImageError: if there are fewer.
        """
        finds = self.finds(scores, most=rank)
        if len(finds) < rank:
            raise ImageError(f"There are {len(finds)} finds and no number {rank}.", "Choose a smaller one.")
        return finds[rank - 1]

    def patch_at(self, image: Image, centre: tuple[float, float, float], slice_index: int | None = None) -> Find:
        """The patch about a place that somebody chose, with what the classifier says of it; its rank is 0.

        Args:
            image: See ``score``.
            centre: RAS millimetres.
            slice_index: See ``score``.

        Raises:
            ImageError: if the place lies outside the image.
        """
        index = image.geometry.to_index(np.array(centre))
        inside = (index > -0.5) & (index < np.array(image.geometry.shape) - 0.5)
        if not inside[: len(self.inputs.size)].all():
            raise ImageError(f"The place {centre} lies outside image {image.id}.", "Choose one within.")
        grid = grid_of(image.geometry, self.inputs, slice_index, centre)
        voxels = self._around(image, grid, np.zeros(len(self.inputs.size), int), np.array(self.inputs.size))
        answer = self.classifier.predict(self._shown(voxels)[None])
        low, high = _native_box(grid, image.geometry)
        return self._found(0, grid, answer[0], float(self._wanted(answer)[0]), low, high)

    def grid(self, image: Image, slice_index: int | None = None) -> Geometry:
        """The classifier's spacing over the whole image.

        Raises:
            ImageError: if the image is smaller than a patch, or a volume and no slice of it was chosen.
        """
        plane = image.geometry if slice_index is None else image.geometry.slice(slice_index)
        if len(self.inputs.size) == 2 and slice_index is None and image.geometry.shape[2] > 1:
            grid_of(image.geometry, self.inputs)  # says what to do
        if self.inputs.orientation is not None:
            plane = turned(plane, self.inputs.orientation)
        extent = [count * step for count, step in zip(plane.shape, plane.spacing, strict=True)][: len(self.inputs.size)]
        patch = [edge * step for edge, step in zip(self.inputs.size, self.spacing, strict=True)]
        # Half a voxel is a matter of rounding.
        if any(length < edge - step / 2 for length, edge, step in zip(extent, patch, self.spacing, strict=True)):
            raise ImageError(
                f"Image {image.id} ({_mm(extent)}) is smaller than the patches of {_mm(patch)} that "
                f"{self.classifier.name} looks at.",
                "Give the whole image, not a part of it.",
            )
        size = tuple(
            max(edge, round(length / step))
            for edge, length, step in zip(self.inputs.size, extent, self.spacing, strict=True)
        )
        return grid_of(image.geometry, replace(self.inputs, size=size), slice_index)

    def _around(
        self,
        image: Image,
        whole: Geometry,
        first: np.ndarray,
        last: np.ndarray,
        part: Image | None = None,
        low: Index = (0, 0, 0),
    ) -> np.ndarray:
        """``_resampled`` for a box of the grid, of which only the surroundings are touched.

        Args:
            image: The image.
            whole: The grid over all of it.
            first, last: Voxels of the grid.
            part: Changed voxels, if any.
            low: Where they begin in the image.
        """
        (i, j, k), (a, b, c) = (*first.tolist(), 0)[:3], (*last.tolist(), 1)[:3]
        grid = whole.crop((i, j, k), (a, b, c))
        begin, stop = _native_box(grid, image.geometry, margin=2)
        around = image.crop(begin, stop)
        if part is not None:
            array = around.array.astype(np.result_type(around.array, part.array))
            _put(array, part.array, np.array(low) - begin)
            around = around.with_array(array)
        return self._resampled(around, grid)

    def _resampled(self, image: Image, grid: Geometry) -> np.ndarray:
        """Return ``(channels, *size)`` float32 on the grid, in the image's own units."""
        outside, _ = self.inputs.intensity
        suited = suited_channels(image, self.inputs)
        sampled = resample(suited, grid, outside=outside, interpolation=self.inputs.interpolation)
        array = sampled.array.astype(np.float32, copy=False)
        return array[..., 0] if len(self.inputs.size) == 2 else array

    def _shown(self, patch: np.ndarray) -> np.ndarray:
        """Return a patch in [0, 1]: in the classifier's window or, where it wants that, in the patch's own."""
        window = self.inputs.intensity
        if self.inputs.own_window:
            window = (float(patch.min()), float(patch.max()))
        return windowed(patch, window) if window[1] > window[0] else np.zeros_like(patch)

    def _ask(self, voxels: np.ndarray, starts: np.ndarray, progress: Progress) -> np.ndarray:
        answers = []
        for begin in range(0, len(starts), BATCH):
            progress(begin / len(starts))
            windows = [_window(start, self.inputs.size) for start in starts[begin : begin + BATCH]]
            patches = [self._shown(voxels[(slice(None), *window)]) for window in windows]
            answers.append(self.classifier.predict(np.stack(patches)))
        return np.concatenate(answers)

    def _suppress(self, starts: np.ndarray, scores: np.ndarray) -> list[int]:
        step = np.array(self.spacing)
        low = starts * step
        boxes = torch.from_numpy(np.concatenate([low, low + np.array(self.inputs.size) * step], axis=1)).float()
        kept = non_max_suppression(boxes, torch.from_numpy(scores), nms_thresh=MOST_COMMON, max_proposals=-1)
        # MONAI ranks in single precision; patches that are alike to it are ranked here.
        return sorted((int(index) for index in kept), key=lambda index: -scores[index])

    def _describe(self, rank: int, scores: PatchScores, number: int, score: float) -> Find:
        size = (*self.inputs.size, 1)[:3]
        i, j, k = (int(x) for x in (*scores.starts[number], 0)[:3])
        grid = scores.grid.crop((i, j, k), (i + size[0], j + size[1], k + size[2]))
        return self._found(rank, grid, scores.answers[number], score, *_native_box(grid, scores.native))

    def _wanted(self, answers: np.ndarray) -> np.ndarray:
        wanted = answers[:, [self.classifier.classes.index(name) for name in self.patches.wanted]]
        return np.asarray(wanted.max(axis=1) if self.classifier.multi_label else wanted.sum(axis=1))

    def _found(self, rank: int, grid: Geometry, answer: np.ndarray, score: float, low: Index, high: Index) -> Find:
        x, y, z = (float(value) for value in grid.to_ras((np.array(grid.shape) - 1) / 2))
        a, b, c = (float(edge * step) for edge, step in zip(grid.shape, grid.spacing, strict=True))
        named = {name: float(value) for name, value in zip(self.classifier.classes, answer, strict=True)}
        return Find(rank, float(score), named, (x, y, z), (a, b, c), low, high)


def _joined(scores: PatchScores, starts: np.ndarray, answers: np.ndarray) -> PatchScores:
    """Add patches of the fine pass."""
    every, said = np.concatenate([scores.starts, starts]), np.concatenate([scores.answers, answers])
    return replace(scores, starts=every, answers=said)


def _slabs(starts: np.ndarray, edge: int, voxels: int) -> list[np.ndarray]:
    """Divide patches along the first axis, so that no part of the grid that is held at once is larger than need be.

    Args:
        starts: ``(patches, 2 or 3)`` first voxels.
        edge: Of a patch along the first axis.
        voxels: Of the grid for one step along it.
    """
    rows = np.unique(starts[:, 0])
    most = max(1, MOST_VOXELS // voxels)
    slabs, begun = [], rows[0]
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if following is None or following + edge - begun > most:
            slabs.append(starts[(starts[:, 0] >= begun) & (starts[:, 0] <= row)])
            begun = following
    return slabs


def _mm(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"


def _window(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(a) + edge) for a, edge in zip(start, size, strict=True))


def _put(whole: np.ndarray, part: np.ndarray, at: np.ndarray) -> None:
    """Overwrite what a part covers of ``whole (channels, i, j, k)``; it may reach beyond it, or lie beside it."""
    first = np.maximum(at, 0)
    last = np.minimum(at + part.shape[1:], whole.shape[1:])
    if (last <= first).any():
        return
    there = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    here = tuple(slice(int(a), int(b)) for a, b in zip(first - at, last - at, strict=True))
    whole[(slice(None), *there)] = part[(slice(None), *here)]


def _box_within(inner: Geometry, outer: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Where the outer edges of a grid lie in the voxels of another one of the same directions."""
    corners = np.array([[-0.5] * 3, np.array(inner.shape) - 0.5])
    edges = outer.to_index(inner.to_ras(corners))
    return edges.min(axis=0), edges.max(axis=0)


def _native_box(grid: Geometry, native: Geometry, margin: int = 0) -> tuple[Index, Index]:
    """The voxels of an image whose centres lie within a grid's outer edges, and some more of the grid's around it."""
    low, high = _box_within(grid, native)
    ratio = np.ceil(np.array(grid.spacing) / native.spacing)
    more = margin * np.where(np.array(native.shape) > 1, ratio, 0)
    limit = np.array(native.shape)
    first = np.clip(np.ceil(low - 1e-6) - more, 0, limit - 1).astype(int)
    last = np.clip(np.floor(high + 1e-6) + 1 + more, first + 1, limit).astype(int)
    (i, j, k), (a, b, c) = first.tolist(), last.tolist()
    return (i, j, k), (a, b, c)
