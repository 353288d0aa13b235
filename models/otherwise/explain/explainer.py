"""From an image to its whole explanation, in the image's own geometry."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.candidate import Candidate, predicts_target
from otherwise.agent.editing.parts import composite, soft
from otherwise.agent.editing.rendering import Cancelled
from otherwise.agent.editing.search import Progress, Search, SearchResult, SearchSettings
from otherwise.attribution.methods import find_method
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.errors import AgentError, CancelledError, ClassifierError
from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    ModelRef,
    PathPoint,
    Prediction,
    Probabilities,
    Region,
    Volumes,
)
from otherwise.explain.fragility import fragility_warnings
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import (
    change_to_native,
    model_grid,
    precompensated,
    precompensation,
    resample,
    to_model,
)
from otherwise.influence.effect import effect_map, shown_effect
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.regions import MeasuredRegion, measure_regions, reconstruction_floor

CARRIED = "not once carried to the full image"
MAX_PATH = 7
"""Images of the path that are kept."""


@dataclass(frozen=True)
class _View:
    """One image as the classifier sees it, and the way back."""

    image: Image
    classifier: BlackBox
    slice_index: int | None
    centre: tuple[float, float, float] | None = None
    grid: Geometry = field(init=False)
    array: np.ndarray = field(init=False)
    strengthening: tuple[np.ndarray, ...] = field(init=False)
    seam: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        spec = self.classifier.inputs
        object.__setattr__(self, "array", self.see(self.image))
        grid = model_grid(self.image.geometry, spec.size, spec.spacing, self.slice_index, self.centre)
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "strengthening", precompensation(grid, self.image.geometry))
        object.__setattr__(
            self, "seam", _seam(spec.size) if self.centre is not None else np.ones(spec.size, np.float32)
        )

    def see(self, image: Image) -> np.ndarray:
        """``(channels, *size)`` in [0, 1]."""
        spec = self.classifier.inputs
        return to_model(image, spec.size, spec.spacing, spec.intensity, self.slice_index, spec.channels, self.centre)

    def carry(self, edited: np.ndarray) -> Image:
        """The original with the change of an edited ``(channels, *size)``; its own fine detail stays.

        Where something changes, the original is first brought into the classifier's intensity window: beyond it a
        change would not be seen.
        """
        meant = precompensated((edited - self.array) * self.seam, self.strengthening)
        change = self.back(meant, self.classifier.inputs.intensity)
        low, high = self.classifier.inputs.intensity
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
        self.agent = agent
        self.settings = settings or SearchSettings()

    def under_noise(self, noise: float) -> Explainer:
        """Explain the classifier's mean answer over copies with noise of a share of the range: see ``smoothed``."""
        return Explainer(SmoothedBlackBox(self.classifier, noise), self.agent, self.settings)

    def classify(self, image: Image, slice_index: int | None = None) -> Prediction:
        """Ask the black box.

        Raises:
            ImageError: if the image does not suit the classifier.
        """
        view = _View(image, self.classifier, slice_index)
        return self._prediction(self.classifier.predict(view.array[None])[0])

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
        view = _View(image, self.classifier, slice_index, centre)
        counted = CountingBlackBox(self.classifier)
        copies = self.classifier.copies if isinstance(self.classifier, SmoothedBlackBox) else 1
        progress("search", 0.0)
        result = Search(self.agent, counted, self.settings).run(
            view.array, self._index(target), seed, lambda stage, part: progress(stage, 0.6 * part), cancelled
        )
        self._refuse_same_class(result, target)

        def between(part: float) -> None:
            progress("influence", 0.6 + 0.25 * part)
            if cancelled():
                raise CancelledError("The explanation was cancelled.", "Ask again when you want it.")

        floor = reconstruction_floor(view.array, result.reconstruction)
        chosen, best, best_image = self._still_flips(view, counted, result, floor)
        edited = chosen.image
        effect = effect_map(counted, view.array, edited, result.target, between)
        mask = (
            minimal_mask(counted, view.array, edited, effect, result.target)
            if result.valid
            else np.ones(effect.shape, dtype=bool)
        )
        minimal = composite(view.array, edited, soft(mask))
        regions = measure_regions(counted, view.array, edited, effect, floor, result.target)

        progress("geometry", 0.9)
        least, least_image = self._carried(view, counted, minimal, result.target, floor)
        steps = _thinned(result.path_to(chosen), chosen)
        path = tuple(best_image if c is chosen else view.carry(c.image) for c in steps)
        told = counted.predict(np.stack([view.see(image) for image in path]))
        alternatives = [self._carried(view, counted, c.image, result.target, floor) for c in result.alternatives]
        effect_image = image.with_array(view.back(shown_effect(effect)[None])[:1])
        labels = _label_map(regions, effect.shape)
        label_image = view.labels_back(labels)
        shown = view.see(best_image) if best.valid else None
        warnings = fragility_warnings(counted, view.array, shown, result.target, seed)
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
            prediction=self._prediction(result.original.probabilities),
            target=self.classifier.classes[result.target],
            counterfactual=best,
            reconstruction_l1=float(np.abs(result.reconstruction - view.array).mean()),
            minimal=least,
            path=tuple(PathPoint(c.strength, self._named(answer)) for c, answer in zip(steps, told, strict=True)),
            alternatives=tuple(answer for answer, _ in alternatives),
            regions=tuple(self._regions(regions, label_image)),
            notes=tuple(self._notes(result, best, regions)),
            warnings=warnings,
            volumes=Volumes(
                original=image,
                counterfactual=best_image,
                difference=image.with_array(best_image.array - image.array.astype(np.float32)),
                effect=effect_image,
                floor=image.with_array(view.back(floor[None], self.classifier.inputs.intensity)[:1]),
                regions=label_image,
                minimal=least_image,
                path=path,
                alternatives=tuple(volume for _, volume in alternatives),
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
        """Ask a method that users know where the black box looks, for comparison.

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
        view = _View(image, self.classifier, slice_index)
        index = self._index(label)
        if index is None:
            index = int(self.classifier.predict(view.array[None])[0].argmax())

        def checkpoint(part: float) -> None:
            progress("attribute", part)
            if cancelled():
                raise CancelledError("The attribution was cancelled.", "Ask again when you want it.")

        values = found(self.classifier, view.array, index, checkpoint)
        return image.with_array(view.back(values[None])[:1])

    def _index(self, target: str | None) -> int | None:
        if target is None:
            return None
        if target not in self.classifier.classes:
            raise ClassifierError(
                f"{self.classifier.name} has no class {target!r}.", f"Choose of {', '.join(self.classifier.classes)}."
            )
        return self.classifier.classes.index(target)

    def _refuse_same_class(self, result: SearchResult, target: str | None) -> None:
        answer = predicts_target(result.original.probabilities, result.target, self.classifier.multi_label)
        if target is not None and bool(answer):
            raise ClassifierError(f"{self.classifier.name} says {target} already.", "Choose another target class.")

    def _still_flips(
        self, view: _View, classifier: BlackBox, result: SearchResult, floor: np.ndarray
    ) -> tuple[Candidate, Counterfactual, Image]:
        """The least change that flips the black box on the full image too: carrying it there smooths it a little.

        Returns:
            The edit, what the black box says of it on the full image, and that image; without any: those of the best.
        """
        for candidate in result.tried:
            enough = result.valid and candidate.strength >= result.best.strength
            if enough and predicts_target(candidate.probabilities, result.target, classifier.multi_label):
                answer, native = self._carried(view, classifier, candidate.image, result.target, floor)
                if answer.valid:
                    return candidate, answer, native
        return result.best, *self._carried(view, classifier, result.best.image, result.target, floor)

    def _carried(
        self, view: _View, classifier: BlackBox, edited: np.ndarray, target: int, floor: np.ndarray
    ) -> tuple[Counterfactual, Image]:
        """Carry an edit onto the original and ask the black box about the result, as anybody else would."""
        native = view.carry(edited)
        seen = view.see(native)
        answer = classifier.predict(seen[None])[0]
        change = np.abs(seen - view.array)
        return (
            Counterfactual(
                valid=bool(predicts_target(answer, target, classifier.multi_label)),
                probabilities=self._named(answer),
                changed_fraction=float((change.max(axis=0) > floor).mean()),
                l1=float(change.mean()),
            ),
            native,
        )

    def _prediction(self, answer: np.ndarray) -> Prediction:
        return Prediction(self.classifier.classes[int(answer.argmax())], self._named(answer))

    def _named(self, answer: np.ndarray) -> Probabilities:
        return {name: float(value) for name, value in zip(self.classifier.classes, answer, strict=True)}

    def _regions(self, regions: Sequence[MeasuredRegion], labels: Image) -> list[Region]:
        described = []
        for number, region in enumerate(regions, start=1):
            voxels = np.argwhere(labels.array[0] == number)
            # A region smaller than a native voxel has none of its own; it lies where its effect is.
            if not len(voxels):
                continue
            x, y, z = (float(value) for value in labels.geometry.to_ras(voxels.mean(axis=0)))
            described.append(
                Region(
                    label=number,
                    centroid_ras=(x, y, z),
                    volume_mm3=len(voxels) * labels.geometry.voxel_volume,
                    effect=region.effect,
                    sufficient=region.sufficient,
                    necessary=region.necessary,
                    above_floor=region.above_floor,
                )
            )
        return described

    def _notes(self, result: SearchResult, best: Counterfactual, regions: Sequence[MeasuredRegion]) -> list[str]:
        notes = []
        if not best.valid:
            reason = "within the budget" if result.exhausted else "with the strongest movement tried"
            notes.append(f"Nothing was found {reason} for which the black box changes its mind; this is the nearest.")
        if result.valid and not best.valid:
            notes.append(f"The change flips the black box on its own grid, but {CARRIED}.")
        if not regions:
            notes.append("No region of the change has a measured effect towards the target.")
        elif not any(region.above_floor for region in regions):
            notes.append("No decisive region changes by more than the agent's own reconstruction error.")
        return notes


def _seam(size: tuple[int, ...], share: float = 0.08) -> np.ndarray:
    """One inside a patch, falling to zero over the outer ``share`` of each edge."""
    weights = np.ones(size, np.float32)
    for axis, edge in enumerate(size):
        distance = np.minimum(np.arange(edge), np.arange(edge)[::-1])
        ramp = np.clip(distance / max(1.0, share * edge), 0, 1)
        weights *= (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32).reshape(-1, *[1] * (len(size) - 1 - axis))
    return weights


def _thinned(path: Sequence[Candidate], best: Candidate, most: int = MAX_PATH) -> tuple[Candidate, ...]:
    """At most ``most`` images of the path, evenly, with the first, the best and the last among them."""
    if len(path) <= most:
        return tuple(path)
    wanted = {round(x) for x in np.linspace(0, len(path) - 1, most - 1)}
    return tuple(c for index, c in enumerate(path) if index in wanted or c.strength == best.strength)


def _label_map(regions: Sequence[MeasuredRegion], size: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(size, dtype=np.uint8)
    for number, region in enumerate(regions, start=1):
        labels[region.mask] = number
    return labels
