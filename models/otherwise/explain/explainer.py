"""From an image to its whole explanation, as named steps: search, choose, measure, carry to the image, describe."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.realism import realism
from otherwise.agent.editing.rendering import Cancelled
from otherwise.agent.editing.search import Progress, Search, SearchResult, SearchSettings
from otherwise.attribution.methods import find_method
from otherwise.blackbox.checked import CountingBlackBox, RememberingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.description import describe_contract
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.blackbox.view import show_any, warnings_of
from otherwise.errors import AgentError, CancelledError, ClassifierError
from otherwise.explain.believability import believability_warnings
from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    ModelRef,
    PathPoint,
    Prediction,
    Probabilities,
    Region,
    Seen,
    Volumes,
)
from otherwise.explain.fragility import fragility_warnings
from otherwise.explain.view import ClassifierView
from otherwise.images.image import Image
from otherwise.influence.effect import measure_effect, shown_effect
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.parts import composite, soft
from otherwise.influence.regions import MeasuredRegion, measure_regions, reconstruction_floor

CARRIED = "not once carried to the full image"
SATURATED = (
    "The classifier answers exactly 0 or 1, so that its log-odds cannot be compared: effects are the share of random "
    "orders of putting the change in, part by part, in which a place tips the answer."
)
MAX_PATH = 7
"""Most images of the path that are kept."""


@dataclass(frozen=True, eq=False)
class _Found:
    """What the search returned, and the autoencoder's own error ``size``."""

    result: SearchResult
    floor: np.ndarray


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The edit that is explained: on the classifier's grid, the answer for the full image, its change, that image."""

    candidate: Candidate
    answer: Counterfactual
    change: np.ndarray
    native: Image


@dataclass(frozen=True, eq=False)
class _Measured:
    """The effect ``size`` (log-odds), the least sufficient part ``size`` (bool), and the decisive regions.

    ``saturated``: all answers were exactly 0 or 1, see ``influence.tipping``.
    """

    effect: np.ndarray
    minimal: np.ndarray
    regions: list[MeasuredRegion]
    saturated: bool


@dataclass(frozen=True, eq=False)
class _Carried:
    """Everything else that is shown, with the black box's answers on the image's own grid.

    The images are only looked at: of a large image they lie on a coarser grid, see ``view.LOOKED_AT``.
    """

    minimal: tuple[Counterfactual, Image]
    path: tuple[PathPoint, ...]
    path_images: tuple[Image, ...]
    alternatives: tuple[tuple[Counterfactual, Image], ...]
    regions: Image


class Explainer:
    """Explains one classifier's answers with one agent.

    Args:
        classifier: The black box.
        agent: The agent taught by it.
        settings: How hard to search.

    Raises:
        AgentError: if the agent was taught by another classifier or for other images.
    """

    def __init__(self, classifier: BlackBox, agent: Agent, settings: SearchSettings | None = None) -> None:
        architecture, inputs = agent.model.architecture, classifier.inputs
        if agent.classifier_version and agent.classifier_version != classifier.version:
            raise AgentError(
                f"Agent {agent.name} was taught by another classifier than {classifier.name}.",
                "Train one for it: otherwise train agent --classifier ...",
            )
        if architecture.size != tuple(inputs.size) or architecture.classes != len(classifier.classes):
            raise AgentError(
                f"Agent {agent.name} is made for images of {architecture.size} and {architecture.classes} classes, "
                f"classifier {classifier.name} for {tuple(inputs.size)} and {len(classifier.classes)}.",
                "Give the pair that belongs together.",
            )
        self.classifier = classifier
        self.rule = DecisionRule.of(classifier)
        self.agent = agent
        self.settings = settings or SearchSettings()

    def under_noise(self, noise: float) -> Explainer:
        """Explain the classifier's mean answer over copies with noise of a share of the range: see ``smoothed``."""
        return Explainer(SmoothedBlackBox(self.classifier, noise), self.agent, self.settings)

    def classify(self, image: Image, slice_index: int | None = None) -> Prediction:
        """Return the black box's answer.

        Raises:
            ImageError: if the image does not suit the classifier.
        """
        seen = show_any(image, self.classifier.inputs, slice_index)
        return self._prediction(self.classifier.predict(seen[None])[0])

    def explain(
        self,
        image: Image,
        *,
        target: str | None = None,
        seed: int = 0,
        slice_index: int | None = None,
        centre: tuple[float, float, float] | None = None,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> Explanation:
        """Search for the least change that flips the black box, and measure what decides.

        Args:
            image: The image, in its own units and geometry.
            target: The class to flip to; None: the nearest other one.
            seed: For the alternatives; the same seed gives the same explanation.
            slice_index: For a 2-D classifier and a volume: which slice.
            centre: For a classifier of patches: the middle of the patch, RAS millimetres; None: the image's middle. The
                change fades out towards the patch's border, so that there is no seam.
            progress: Told the stage and the share of the whole that is done.
            cancelled: Asked between steps.

        Raises:
            ImageError: if the image does not suit the classifier.
            ClassifierError: if the target is no class of the classifier, or what it answers is no probability.
            CancelledError: if ``cancelled`` says so.
        """
        started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
        view = ClassifierView(image, self.classifier, slice_index, centre)
        counted = RememberingBlackBox(self.classifier)
        copies = self.classifier.copies if isinstance(self.classifier, SmoothedBlackBox) else 1

        def checkpoint(part: float) -> None:
            progress("influence", 0.6 + 0.25 * part)
            if cancelled():
                raise CancelledError("The explanation was cancelled.", "Ask again when you want it.")

        found = self._search(view, counted, target, seed, progress, cancelled)
        chosen = self._with_realism(view, self._choose(view, counted, found))
        measured = _measure(view, counted, found, chosen, checkpoint)
        progress("geometry", 0.9)
        carried = self._carry_all(view, counted, found, chosen, measured)
        shown = view.see(chosen.native) if chosen.answer.valid else None
        flipped = np.array(list(chosen.answer.probabilities.values()))
        warnings = (
            *fragility_warnings(
                counted, view.array, shown, found.result.target, seed, found.result.original.probabilities, flipped
            ),
            *believability_warnings(
                self.agent.calibration,
                chosen.answer,
                self.classifier.classes[found.result.target],
                found.result.goal,
            ),
        )
        progress("geometry", 1.0)
        return Explanation(
            id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}",
            image_id=image.id,
            image_sha256=image.sha256,
            classifier=ModelRef(self.classifier.name, self.classifier.version),
            agent=ModelRef(self.agent.name, self.agent.version),
            created=created,
            seconds=round(time.perf_counter() - started, 3),
            queries=counted.queries * copies,
            prediction=self._prediction(found.result.original.probabilities),
            target=self.classifier.classes[found.result.target],
            counterfactual=chosen.answer,
            reconstruction_l1=float(np.abs(found.result.reconstruction - view.array).mean()),
            minimal=carried.minimal[0],
            path=carried.path,
            alternatives=tuple(answer for answer, _ in carried.alternatives),
            regions=_described(measured.regions, carried.regions),
            notes=_notes(found.result, chosen.answer, measured),
            warnings=(*warnings_of(image, self.classifier.inputs, view.seen), *warnings),
            seen=self._seen(view),
            rule=self.rule,
            volumes=Volumes(
                original=image,
                counterfactual=chosen.native,
                difference=image.with_array(chosen.change),
                effect=image.with_array(view.back(shown_effect(measured.effect))),
                floor=image.with_array(view.back(found.floor, view.seen.window)),
                regions=carried.regions,
                minimal=carried.minimal[1],
                path=carried.path_images,
                alternatives=tuple(volume for _, volume in carried.alternatives),
            ),
            slice_index=slice_index,
            grid=view.grid,
        )

    def attribute(
        self,
        image: Image,
        method: str,
        *,
        label: str | None = None,
        slice_index: int | None = None,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> Image:
        """Return the attribution map of a known method, for comparison.

        Args:
            image: The image.
            method: Name of a method of ``otherwise.attribution``.
            label: The class to attribute; None: the one that the black box says.
            slice_index: See ``explain``.
            progress: See ``explain``.
            cancelled: Asked between steps.

        Returns:
            float32 on the image's own grid: positive speaks for the class, zero outside the classifier's field.

        Raises:
            ImageError: if the image does not suit the classifier.
            ClassifierError: if there is no such method or class, or the classifier does not suit the method.
            CancelledError: if ``cancelled`` says so.
        """
        found = find_method(method, self.classifier)
        view = ClassifierView(image, self.classifier, slice_index)
        index = self._index(label)
        if index is None:
            index = self.rule.label(self.classifier.predict(view.array[None])[0])

        def checkpoint(part: float) -> None:
            progress("attribute", part)
            if cancelled():
                raise CancelledError("The attribution was cancelled.", "Ask again when you want it.")

        values = found(self.classifier, view.array, index, checkpoint)
        return image.with_array(view.back(values))

    def _index(self, target: str | None) -> int | None:
        if target is None:
            return None
        if target not in self.classifier.classes:
            raise ClassifierError(
                f"{self.classifier.name} has no class {target!r}.", f"Choose of {', '.join(self.classifier.classes)}."
            )
        return self.classifier.classes.index(target)

    def _search(
        self,
        view: ClassifierView,
        classifier: CountingBlackBox,
        target: str | None,
        seed: int,
        progress: Progress,
        cancelled: Cancelled,
    ) -> _Found:
        """Search for edits on the classifier's grid. This is the first 60 % of the work."""
        progress("search", 0.0)
        result = Search(self.agent, classifier, self.settings).run(
            view.array, self._index(target), seed, lambda stage, part: progress(stage, 0.6 * part), cancelled
        )
        if target is not None and bool(self.rule.says(result.original.probabilities, result.target)):
            raise ClassifierError(f"{self.classifier.name} says {target} already.", "Choose another target class.")
        return _Found(result, reconstruction_floor(view.array, result.reconstruction))

    def _choose(self, view: ClassifierView, classifier: BlackBox, found: _Found) -> _Chosen:
        """Choose the least edit that flips the black box on the full image too; without any, the best on its own grid.

        The way to the full image smooths an edit a little, so that one that just flips may no longer do so there.
        """
        result = found.result
        for candidate in result.tried:
            enough = result.valid and candidate.strength >= result.best.strength
            if enough and self.rule.says(candidate.probabilities, result.target):
                chosen = self._carried(view, classifier, candidate, found)
                if chosen.answer.valid:
                    return chosen
                del chosen  # its voxels, before the next ones are made
        return self._carried(view, classifier, result.best, found)

    def _carried(self, view: ClassifierView, classifier: BlackBox, candidate: Candidate, found: _Found) -> _Chosen:
        """Carry an edit onto the original and ask the black box about the result, as anybody else would."""
        change = view.change(candidate.image)
        native = view.put(change)
        return _Chosen(candidate, self._answer(view, classifier, view.see(native), found), change, native)

    def _with_realism(self, view: ClassifierView, chosen: _Chosen) -> _Chosen:
        """Add how real the changed image looks to the agent, as the classifier sees it."""
        probabilities = np.array(list(chosen.answer.probabilities.values()))
        score = realism(self.agent, view.see(chosen.native), probabilities)
        return replace(chosen, answer=replace(chosen.answer, realism=score))

    def _carry_all(
        self, view: ClassifierView, classifier: BlackBox, found: _Found, chosen: _Chosen, measured: _Measured
    ) -> _Carried:
        """Bring everything but the chosen edit onto the image's own grid, and ask the black box about it there."""
        minimal = composite(view.array, chosen.candidate.image, soft(measured.minimal))
        steps = _thinned(found.result.path_to(chosen.candidate), chosen.candidate)
        path = [self._looked_at(view, c.image, chosen.native if c is chosen.candidate else None) for c in steps]
        answers = classifier.predict(np.stack([seen for seen, _ in path]))
        return _Carried(
            minimal=self._answered(view, classifier, minimal, found),
            path=tuple(
                PathPoint(c.strength, self._named(answer), bool(self.rule.says(answer, found.result.target)))
                for c, answer in zip(steps, answers, strict=True)
            ),
            path_images=tuple(image for _, image in path),
            alternatives=tuple(self._answered(view, classifier, c.image, found) for c in found.result.alternatives),
            regions=view.labels_back(_label_map(measured.regions, measured.effect.shape)),
        )

    def _answered(
        self, view: ClassifierView, classifier: BlackBox, edited: np.ndarray, found: _Found
    ) -> tuple[Counterfactual, Image]:
        """Return the answer for an edit on the full image, and the image to look at."""
        seen, image = self._looked_at(view, edited)
        return self._answer(view, classifier, seen, found), image

    @staticmethod
    def _looked_at(view: ClassifierView, edited: np.ndarray, native: Image | None = None) -> tuple[np.ndarray, Image]:
        """Return what the classifier sees of an edit on the full image, and the image to look at.

        Only one full image is held at a time.
        """
        native = view.carry(edited) if native is None else native
        seen = view.see(native)
        return seen, native if view.small is view.image else view.carry(edited, view.small)

    def _answer(self, view: ClassifierView, classifier: BlackBox, seen: np.ndarray, found: _Found) -> Counterfactual:
        """Ask the black box about a changed image ``(channels, *size)`` that came back from the full image."""
        answer = classifier.predict(seen[None])[0]
        change = np.abs(seen - view.array)
        return Counterfactual(
            valid=bool(self.rule.says(answer, found.result.target)),
            probabilities=self._named(answer),
            changed_fraction=float((change.max(axis=0) > found.floor).mean()),
            l1=float(change.mean()),
        )

    def _seen(self, view: ClassifierView) -> Seen:
        array, seen = view.array, view.seen
        flat = array[..., None] if array.ndim == 3 else array
        image = Image(flat.astype(np.float32), view.grid, view.image.id, self.classifier.inputs.spatial_dims)
        return Seen(image, seen.window, seen.below, seen.above, describe_contract(self.classifier))

    def _prediction(self, answer: np.ndarray) -> Prediction:
        return Prediction(self.classifier.classes[self.rule.label(answer)], self._named(answer))

    def _named(self, answer: np.ndarray) -> Probabilities:
        return {name: float(value) for name, value in zip(self.classifier.classes, answer, strict=True)}


def _measure(
    view: ClassifierView,
    classifier: BlackBox,
    found: _Found,
    chosen: _Chosen,
    checkpoint: Callable[[float], None],
) -> _Measured:
    """Measure on the black box what each part of the chosen edit does."""
    edited, target = chosen.candidate.image, found.result.target
    measured = measure_effect(classifier, view.array, edited, target, checkpoint)
    effect = measured.values
    mask = (
        minimal_mask(classifier, view.array, edited, effect, target)
        if found.result.valid
        else np.ones(effect.shape, dtype=bool)
    )
    regions = measure_regions(classifier, view.array, edited, effect, found.floor, target, measured.saturated)
    return _Measured(effect, mask, regions, measured.saturated)


def _described(regions: Sequence[MeasuredRegion], labels: Image) -> tuple[Region, ...]:
    """Return the regions in millimetres or, where nobody knows these, in pixels.

    A region smaller than a native voxel has no voxels of its own and is left out.
    """
    described = []
    for number, region in enumerate(regions, start=1):
        inside = labels.array[0] == number
        count = int(np.count_nonzero(inside))
        if not count:
            continue
        centre = tuple(_mean_index(inside, axis) for axis in range(3))
        measured = labels.unit == "mm"
        described.append(
            Region(
                label=number,
                centroid_ras=tuple(labels.geometry.to_ras(np.array(centre)).tolist()) if measured else None,
                volume_mm3=count * labels.geometry.voxel_volume if measured else None,
                effect=region.effect,
                sufficient=region.sufficient,
                necessary=region.necessary,
                above_floor=region.above_floor,
                voxels=count,
                centroid_index=centre,
            )
        )
    return tuple(described)


def _mean_index(inside: np.ndarray, axis: int) -> float:
    """Return the mean index along an axis of the true voxels; no list of voxels is made, which may be many."""
    counts = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
    return float(np.average(np.arange(len(counts)), weights=counts))


def _notes(result: SearchResult, best: Counterfactual, measured: _Measured) -> tuple[str, ...]:
    """Return the sentences that a reader has to know."""
    notes, regions = [], measured.regions
    if not best.valid:
        reason = "within the budget" if result.exhausted else "with the strongest movement tried"
        notes.append(f"Nothing was found {reason} for which the black box changes its mind; this is the nearest.")
    if result.valid and not best.valid:
        notes.append(f"The change flips the black box on its own grid, but {CARRIED}.")
    if measured.saturated:
        notes.append(SATURATED)
    if not regions:
        notes.append("No region of the change has a measured effect towards the target.")
    elif not any(region.above_floor for region in regions):
        notes.append("No decisive region changes by more than the agent's own reconstruction error.")
    return tuple(notes)


def _thinned(path: Sequence[Candidate], best: Candidate, most: int = MAX_PATH) -> tuple[Candidate, ...]:
    """Return at most ``most`` images of the path, evenly, with the first, the best and the last among them."""
    if len(path) <= most:
        return tuple(path)
    wanted = {round(x) for x in np.linspace(0, len(path) - 1, most - 1)}
    return tuple(c for index, c in enumerate(path) if index in wanted or c.strength == best.strength)


def _label_map(regions: Sequence[MeasuredRegion], size: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(size, dtype=np.uint8)
    for number, region in enumerate(regions, start=1):
        labels[region.mask] = number
    return labels
