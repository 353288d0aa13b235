"""Search a whole image with a classifier of patches, and keep the best patch of each place.

The image is resampled to the classifier's spacing slab by slab, so that memory does not grow with it. A coarse pass
asks about patches that overlap by half, where there is tissue; a fine pass asks about more of them around those that
are suspicious. Finds that overlap are merged by non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from monai.data.utils import dense_patch_slices

from otherwise.blackbox.concern import concern_of
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.output_kind import output_kind, predict_readable
from otherwise.blackbox.protocol import BlackBox, InputSpec, PatchSpec
from otherwise.blackbox.view import grid_of
from otherwise.errors import ClassifierError, ImageError
from otherwise.finding.find import Find, PatchScores
from otherwise.finding.finer import ONE_SPREAD, SUSPICIOUS, finer_starts
from otherwise.finding.sampling import Box, Change, box_within, native_box, sample, shown, slabs, whole_grid, window_at
from otherwise.finding.scan import Scan
from otherwise.finding.suppression import best_of_each_place
from otherwise.finding.tissue import TissueMap
from otherwise.images.image import Geometry, Image, check_content

BATCH = 64
Progress = Callable[[float], None]


class Finder:
    """Search with one classifier of patches.

    Args:
        classifier: The black box; its inputs say how patches are laid.
        scan: Settings of this search.

    Raises:
        ClassifierError: if it looks at whole images, or wants a class that it has not.
        BundleError: if a setting, or a direction of concern, is impossible.
    """

    def __init__(self, classifier: BlackBox, scan: Scan | None = None) -> None:
        self.scan = scan or Scan()
        inputs = self.scan.inputs(classifier.inputs)
        if inputs.patches is None or inputs.spacing is None:
            raise ClassifierError(
                f"{classifier.name} looks at whole images, so there is nothing to find.", "Explain the image itself."
            )
        self.kind, self.concern = output_kind(classifier), concern_of(classifier)
        missing = [name for name in inputs.patches.wanted if name not in classifier.classes]
        if missing and self.concern is None:
            raise ClassifierError(f"{classifier.name} has no class {missing[0]!r}.", "Correct its bundle's patches.")
        if not self.scan.muscle and (len(inputs.size) != 2 or inputs.modality.upper() not in ("MG", "OT", "")):
            raise ClassifierError(
                f"{classifier.name} is not made for mammograms, so there is no pectoral muscle to leave out.",
                "Leave --skip-muscle out.",
            )
        if not self.scan.muscle and inputs.patches.foreground is None:
            raise ClassifierError("Muscle cannot be told from air without a foreground.", "Give --foreground, too.")
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
        """Return the best patches of an image; see ``score`` and ``finds``."""
        return self.finds(self.score(image, slice_index, progress), most)

    def score(
        self, image: Image, slice_index: int | None = None, progress: Progress = lambda fraction: None
    ) -> PatchScores:
        """Ask about every patch of an image that holds tissue, and about more around the suspicious ones.

        Patches whose value cannot be read back are left out, see ``PatchScores.far``.

        Args:
            image: 2-D, or a volume; in its own units.
            slice_index: For a 2-D classifier and a volume: which slice.
            progress: Called with the share of the patches looked at; may raise to cancel.

        Raises:
            ImageError: if the image holds no tissue, or does not suit the classifier.
        """
        check_content(image)
        grid = self.grid(image, slice_index)
        tissue = TissueMap(image, self.inputs, self.scan.muscle)
        every = dense_patch_slices(grid.shape[: self._dims], self.inputs.size, tuple(self._step.tolist()))
        starts = self._on_tissue(tissue, grid, np.array([[cut.start for cut in cuts] for cuts in every]))
        if not len(starts):
            above = f" above {self.patches.foreground:g}" if self.patches.foreground is not None else ""
            raise ImageError(
                f"No patch of image {image.id} holds a share of {self.patches.share:g} of tissue{above}.",
                "Check that it has the units which the classifier wants (--foreground, --share).",
            )
        answers, box = self._scan(image, grid, starts, lambda part: progress(part / 2))
        scores = PatchScores(image.geometry, grid, starts, answers, len(starts)).readable()
        more = self._finer(scores, tissue)
        if len(more):
            finer_answers, _ = self._scan(image, grid, more, lambda part: progress(0.5 + part / 2), box)
            scores = scores.with_more(more, finer_answers)
        progress(1.0)
        return scores

    def rescore(self, scores: PatchScores, image: Image, part: Image, low: tuple[int, int, int]) -> PatchScores:
        """Return the scores after a part of the image was changed; only the patches that see it are asked again.

        Where a patch becomes suspicious, more patches around it are asked about.

        Args:
            scores: Of ``image``.
            image: Before the change.
            part: The changed voxels.
            low: Index of their first one in ``image``.
        """
        low_in_grid, high_in_grid = box_within(part.geometry, scores.grid)
        size = np.array(self.inputs.size)
        # A patch sees a little beyond its border, where larger voxels are made of smaller ones.
        sees = (scores.starts - 1 < high_in_grid[: self._dims]) & (scores.starts + size + 1 > low_in_grid[: self._dims])
        seeing = np.flatnonzero(sees.all(axis=1))
        if not len(seeing):
            return scores
        answers = scores.answers.copy()

        def ask(starts: np.ndarray) -> np.ndarray:
            first, last = starts.min(axis=0), starts.max(axis=0) + size
            voxels = sample(image, self.inputs, scores.grid, first, last, Change(part, low))
            return self._ask(voxels, starts - first, lambda fraction: None)

        answers[seeing] = ask(scores.starts[seeing])
        again = replace(scores, answers=answers).readable()
        more = self._finer(again, TissueMap(image, self.inputs, self.scan.muscle))
        return again.with_more(more, ask(more)) if len(more) else again

    def finds(self, scores: PatchScores, most: int = 20) -> list[Find]:
        """Return the best patch of each place, the most probable first."""
        wanted = self.wanted(scores)
        return [self._describe(rank, scores, n, wanted[n]) for rank, n in enumerate(self.best(scores)[:most], 1)]

    def best(self, scores: PatchScores) -> list[int]:
        """Return the numbers of the best patch of each place, the most probable first."""
        return best_of_each_place(scores.starts, self.wanted(scores), self.inputs.size, self.spacing)

    def rank(self, scores: PatchScores, rank: int) -> Find:
        """Return the find of one rank.

        Raises:
            ImageError: if there are fewer.
        """
        finds = self.finds(scores, most=rank)
        if len(finds) < rank:
            raise ImageError(f"There are {len(finds)} finds and no number {rank}.", "Choose a smaller one.")
        return finds[rank - 1]

    def patch_at(self, image: Image, centre: tuple[float, float, float], slice_index: int | None = None) -> Find:
        """Return the patch about a chosen place, with the classifier's answer for it; its rank is 0.

        Args:
            image: See ``score``.
            centre: RAS millimetres.
            slice_index: See ``score``.

        Raises:
            ImageError: if the place lies outside the image.
        """
        index = image.geometry.to_index(np.array(centre))
        inside = (index > -0.5) & (index < np.array(image.geometry.shape) - 0.5)
        if not inside[: self._dims].all():
            raise ImageError(f"The place {centre} lies outside image {image.id}.", "Choose one within.")
        grid = grid_of(image.geometry, self.inputs, slice_index, centre)
        voxels = sample(image, self.inputs, grid, np.zeros(self._dims, int), np.array(self.inputs.size))
        answer = self.classifier.predict(shown(voxels, self.inputs)[None])
        return self._found(0, grid, answer[0], float(self._wanted(answer)[0]), image.geometry)

    def voxels(self, image: Image, scores: PatchScores, number: int) -> np.ndarray:
        """Return a patch of an image as the classifier sees it: ``(channels, *size)`` in [0, 1]."""
        first = scores.starts[number]
        return shown(sample(image, self.inputs, scores.grid, first, first + self.inputs.size), self.inputs)

    def patch_grid(self, scores: PatchScores, number: int) -> Geometry:
        """Return the grid of a patch, in the classifier's spacing."""
        size = (*self.inputs.size, 1)[:3]
        i, j, k = (int(x) for x in (*scores.starts[number], 0)[:3])
        return scores.grid.crop((i, j, k), (i + size[0], j + size[1], k + size[2]))

    def wanted(self, scores: PatchScores) -> np.ndarray:
        """Return the probability that a patch shows what is wanted; of a value ``Concern.scores``: ``(patches,)``."""
        return self._wanted(scores.answers)

    def suspicious(self, scores: PatchScores) -> np.ndarray:
        """Return whether the classifier says of a patch what is wanted, ``(patches,)`` bool."""
        if self.concern is not None:
            return self.concern.suspicious(self.kind.value_of(scores.answers))
        wanted = [self.classifier.classes.index(name) for name in self.patches.wanted]
        return np.asarray(DecisionRule.of(self.classifier).predicted(scores.answers)[:, wanted].any(axis=1))

    def grid(self, image: Image, slice_index: int | None = None) -> Geometry:
        """Return the grid of the classifier's spacing over the whole image; see ``sampling.whole_grid``."""
        return whole_grid(image, self.inputs, slice_index, self.classifier.name)

    @property
    def _dims(self) -> int:
        return len(self.inputs.size)

    @property
    def _step(self) -> np.ndarray:
        """Return the voxels between the patches of the coarse pass along each axis."""
        return np.array([max(1, round(edge * (1 - self.patches.overlap))) for edge in self.inputs.size])

    def _on_tissue(self, tissue: TissueMap, grid: Geometry, starts: np.ndarray) -> np.ndarray:
        """Return those patches that hold enough tissue, and some."""
        return starts[tissue.shares(starts, grid) >= max(self.patches.share, 1e-9)]

    def _finer(self, scores: PatchScores, tissue: TissueMap) -> np.ndarray:
        """Return patches of the fine pass that have not been asked about: none if no such pass is wanted."""
        if not self.scan.fine:
            return scores.starts[:0]
        coarse, wanted = scores.starts[: scores.coarse], self.wanted(scores)[: scores.coarse]
        limit = np.array(scores.grid.shape[: self._dims]) - self.inputs.size
        least = SUSPICIOUS if self.concern is None else ONE_SPREAD
        more = finer_starts(coarse, wanted, self._step, limit, least)
        known = {tuple(start) for start in scores.starts[scores.coarse :].tolist()}
        new = np.array([tuple(start) not in known for start in more.tolist()], bool)
        return self._on_tissue(tissue, scores.grid, more[new]) if new.any() else more[:0]

    def _scan(
        self, image: Image, grid: Geometry, starts: np.ndarray, progress: Progress, box: Box | None = None
    ) -> tuple[np.ndarray, Box | None]:
        """Ask about patches, slab by slab.

        Args:
            image: The image.
            grid: The classifier's spacing over all of it.
            starts: ``(patches, 2 or 3)`` first voxels, in the order of their rows.
            progress: Called with the share done.
            box: Voxels that hold all these patches, if there are any.

        Returns:
            ``(patches, classes)`` answers, and the voxels if one slab held all patches, half a step around included.
        """
        size, reach = np.array(self.inputs.size), self._step // 2
        last = np.array(grid.shape[: self._dims])
        voxels = int(np.prod(grid.shape[1:])) * self.inputs.channels
        divided = slabs(starts, int(size[0]), voxels) if box is None else [starts]
        answers = []
        for number, some in enumerate(divided):

            def within(part: float, number: int = number) -> None:
                progress((number + part) / len(divided))

            if box is None or len(divided) > 1:
                first = np.maximum(some.min(axis=0) - reach, 0)
                stop = np.minimum(some.max(axis=0) + size + reach, last)
                box = Box(first, sample(image, self.inputs, grid, first, stop))
            answers.append(self._ask(box.voxels, some - box.first, within))
        return np.concatenate(answers), box if len(divided) == 1 else None

    def _ask(self, voxels: np.ndarray, starts: np.ndarray, progress: Progress) -> np.ndarray:
        answers = []
        for begin in range(0, len(starts), BATCH):
            progress(begin / len(starts))
            windows = [window_at(start, self.inputs.size) for start in starts[begin : begin + BATCH]]
            patches = [shown(voxels[(slice(None), *window)], self.inputs) for window in windows]
            answers.append(predict_readable(self.classifier, np.stack(patches)))
        return np.concatenate(answers)

    def _wanted(self, answers: np.ndarray) -> np.ndarray:
        if self.concern is not None:
            return self.concern.scores(self.kind.value_of(answers))
        wanted = answers[:, [self.classifier.classes.index(name) for name in self.patches.wanted]]
        return np.asarray(wanted.max(axis=1) if self.classifier.multi_label else wanted.sum(axis=1))

    def _describe(self, rank: int, scores: PatchScores, number: int, score: float) -> Find:
        return self._found(rank, self.patch_grid(scores, number), scores.answers[number], score, scores.native)

    def _found(self, rank: int, grid: Geometry, answer: np.ndarray, score: float, native: Geometry) -> Find:
        low, high = native_box(grid, native)
        x, y, z = (float(value) for value in grid.to_ras((np.array(grid.shape) - 1) / 2))
        a, b, c = (float(edge * step) for edge, step in zip(grid.shape, grid.spacing, strict=True))
        named = {name: float(value) for name, value in zip(self.classifier.classes, answer, strict=True)}
        value = float(self.kind.value_of(answer)) if self.kind.is_value else None
        return Find(rank, float(score), named, (x, y, z), (a, b, c), low, high, value, self.kind.unit)
