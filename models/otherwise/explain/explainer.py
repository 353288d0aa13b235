"""Explain an image in named steps: search, choose, measure, carry to the image, describe."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.rendering import Cancelled
from otherwise.agent.editing.search import Progress, Search
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import EditKind, SearchSettings
from otherwise.agent.question import agent_at
from otherwise.agent.sensitivity import StudentSensitivity
from otherwise.blackbox.checked import CountingBlackBox, RememberingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.description import describe_contract
from otherwise.blackbox.output_kind import OutputKind, curves_of, output_kind
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.question import Question, QuestionBox, TargetError, ask
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.blackbox.view import show_any
from otherwise.errors import AgentError, CancelledError, ClassifierError
from otherwise.explain.attribution_map import attribution_map
from otherwise.explain.doubts import doubts_of
from otherwise.explain.explanation import Explanation, ModelRef, Prediction, Seen, Volumes
from otherwise.explain.measurement import MeasuredEdit, describe_regions, measure_edit
from otherwise.explain.native import (
    CarriedImages,
    ChosenEdit,
    NativeJudge,
    carry_images,
    choose_edit,
    deformation_of,
    named,
    with_realism,
)
from otherwise.explain.notes import far_notes, notes_of
from otherwise.explain.reach import ReachedRule, choose_reaching, settings_for
from otherwise.explain.value import SurvivalCurves, ValueAnswer
from otherwise.explain.view import ClassifierView
from otherwise.images.image import Image
from otherwise.influence.effect import shown_effect
from otherwise.influence.regions import reconstruction_floor


class Explainer:
    """An explainer of one classifier's answers with one agent.

    Args:
        classifier: The black box.
        agent: The agent taught by it.
        settings: How hard to search.
        question: Of a model that says a value: what is asked; see ``at``. None: it is asked of each image.

    Raises:
        AgentError: if the agent was taught by another classifier or for other images.
    """

    def __init__(
        self,
        classifier: BlackBox,
        agent: Agent,
        settings: SearchSettings | None = None,
        question: Question | None = None,
    ) -> None:
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
        self.rule = ReachedRule(question=question) if question else DecisionRule.of(classifier)
        self.question = question
        self.agent = agent
        self.settings = settings or SearchSettings()

    def under_noise(self, noise: float) -> Explainer:
        """Explain the classifier's mean answer over copies with noise of a share of the range: see ``smoothed``."""
        return Explainer(SmoothedBlackBox(self.classifier, noise), self.agent, self.settings)

    def editing(self, edit: EditKind) -> Explainer:
        """Explain by changes of one kind, see ``SearchSettings``."""
        return Explainer(self.classifier, self.agent, replace(self.settings, edit=edit))

    def at(self, question: Question) -> Explainer:
        """Explain a value as two classes, the sides of a question's cut."""
        kind = output_kind(self.classifier)
        box = QuestionBox(self.classifier, kind.value_of, question)
        agent = agent_at(self.agent, question.shift(kind))
        return Explainer(box, agent, settings_for(self.settings, question), question)

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
        tolerance: float | None = None,
        seed: int = 0,
        slice_index: int | None = None,
        centre: tuple[float, float, float] | None = None,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> Explanation:
        """Search for the least change that flips the black box, and measure what decides.

        Args:
            image: The image, in its own units and geometry.
            target: The class to flip to; None: the nearest other one. Of a value: see ``question.ask``.
            tolerance: Of a value: the distance within which it is reached; None: the model's own.
            seed: For the alternatives; the same seed gives the same explanation.
            slice_index: For a 2-D classifier and a volume: which slice.
            centre: For a classifier of patches: the middle of the patch, RAS millimetres; None: the image's middle. The
                change fades out towards the patch's border, so that there is no seam.
            progress: Called with the stage and the share of the whole that is done.
            cancelled: Asked between steps.

        Raises:
            ImageError: if the image does not suit the classifier.
            ClassifierError: if the target is no class of the classifier, or what it answers is no probability.
            TargetError: if a target value makes no sense, or a tolerance is given for classes or a confidence for a
                value.
            CancelledError: if ``cancelled`` says so.
        """
        kind = output_kind(self.classifier)
        if kind.is_value:
            options: dict[str, Any] = {"seed": seed, "slice_index": slice_index, "centre": centre}
            return self._explain_value(
                kind, image, target, tolerance, **options, progress=progress, cancelled=cancelled
            )
        if tolerance is not None:
            raise TargetError(f"{self.classifier.name} says no value.", "Leave --tolerance out.")
        started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
        view = ClassifierView(image, self.classifier, slice_index, centre)
        counted = RememberingBlackBox(self.classifier)
        copies = _copies(self.classifier)

        def checkpoint(part: float) -> None:
            progress("influence", 0.6 + 0.25 * part)
            if cancelled():
                raise CancelledError("The explanation was cancelled.", "Ask again when you want it.")

        judge, result, chosen = self._found(view, counted, target, seed, progress, cancelled)
        floor = judge.floor
        chosen = with_realism(chosen, judge, self.agent)
        moved = chosen.candidate.displacement
        # The features of a value lie apart and all count; what was measured of each is not shared out anew.
        sensitivity = StudentSensitivity(self.agent, result.target, counted.multi_label) if not self.question else None
        measured = measure_edit(counted, view.array, chosen.candidate, floor, result, sensitivity, checkpoint)
        measured = measured.in_unit(self.question.spread) if self.question else measured
        progress("geometry", 0.9)
        carried = carry_images(judge, result, chosen, measured)
        warnings = doubts_of(judge, result, chosen, self.agent.calibration, self.question, seed)
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
            counterfactual=chosen.answer,
            reconstruction_l1=float(np.abs(result.reconstruction - view.array).mean()),
            minimal=carried.minimal[0],
            path=carried.path,
            alternatives=tuple(answer for answer, _ in carried.alternatives),
            regions=describe_regions(measured.regions, carried.regions),
            notes=notes_of(result, chosen.answer, measured, self.question),
            warnings=warnings,
            seen=self._seen(view),
            rule=self.rule,
            volumes=_volumes(judge, chosen, measured, carried, self.question is not None),
            slice_index=slice_index,
            grid=view.grid,
            precision=self.agent.precision.value,
            deformation=None if moved is None else deformation_of(view.faded(moved), view.grid),
            displacement=None if moved is None else view.displacement(moved),
        )

    def _explain_value(
        self,
        kind: OutputKind,
        image: Image,
        target: str | None,
        tolerance: float | None,
        *,
        slice_index: int | None,
        centre: tuple[float, float, float] | None,
        **options: Any,
    ) -> Explanation:
        """Make a question of the target, and explain the model as the two sides of its cut."""
        if self.settings.confidence is not None:
            raise TargetError(
                f"{self.classifier.name} says a value, the {kind.name}; a confidence is asked of classes.",
                "Leave --confidence out; --tolerance says how near the value has to come.",
            )
        view = ClassifierView(image, self.classifier, slice_index, centre)
        original = float(kind.value_of(self.classifier.predict(view.array[None]))[0])
        question = ask(kind, original, target, tolerance)
        asked = self.at(question)
        found = asked.explain(
            image, target=question.classes[question.target], slice_index=slice_index, centre=centre, **options
        )
        value = ValueAnswer(
            kind,
            question,
            original,
            float(question.value_of(np.array(list(found.counterfactual.probabilities.values())))),
            self._curves(kind, view, found),
        )
        box = asked.classifier
        far = far_notes(box.far if isinstance(box, QuestionBox) else 0)
        queries = found.queries + _copies(self.classifier)
        return replace(found, value=value, rule=DecisionRule(), queries=queries, notes=(*found.notes, *far))

    def _curves(self, kind: OutputKind, view: ClassifierView, found: Explanation) -> SurvivalCurves | None:
        """Return survival of the original and of the counterfactual."""
        pair = np.stack([view.array, view.see(found.volumes.counterfactual)]).astype(np.float32)
        curves = curves_of(self.classifier, pair)
        if curves is None:
            return None
        before, after = (tuple(float(value) for value in curve) for curve in curves)
        return SurvivalCurves(kind.times, before, after, kind.time_unit)

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
        return attribution_map(
            ClassifierView(image, self.classifier, slice_index),
            self.rule,
            method,
            self._index(label),
            lambda part: progress("attribute", part),
            cancelled,
        )

    def _index(self, target: str | None) -> int | None:
        if target is None:
            return None
        if target not in self.classifier.classes:
            raise ClassifierError(
                f"{self.classifier.name} has no class {target!r}.", f"Choose of {', '.join(self.classifier.classes)}."
            )
        return self.classifier.classes.index(target)

    def _found(
        self,
        view: ClassifierView,
        classifier: CountingBlackBox,
        target: str | None,
        seed: int,
        progress: Progress,
        cancelled: Cancelled,
    ) -> tuple[NativeJudge, SearchResult, ChosenEdit]:
        """Search for edits, and choose the one that holds on the full image.

        A deformation that does not hold there is followed by a search for what to draw, if the settings allow both.
        """
        settings = self.settings
        while True:
            result = self._search(view, classifier, settings, target, seed, progress, cancelled)
            floor = reconstruction_floor(view.array, result.reconstruction)
            judge = NativeJudge(view, classifier, self.rule, result.target, floor)
            if self.question is None:
                chosen = choose_edit(judge, result)
            else:
                result, chosen = choose_reaching(judge, result, self.question)
            if chosen.answer.valid or settings.edit != "auto" or chosen.candidate.displacement is None:
                return judge, result, chosen
            settings = replace(settings, edit="draw")

    def _search(
        self,
        view: ClassifierView,
        classifier: CountingBlackBox,
        settings: SearchSettings,
        target: str | None,
        seed: int,
        progress: Progress,
        cancelled: Cancelled,
    ) -> SearchResult:
        """Search for edits on the classifier's grid. This is the first 60 % of the work."""
        progress("search", 0.0)
        result = Search(self.agent, classifier, settings).run(
            view.array, self._index(target), seed, lambda stage, part: progress(stage, 0.6 * part), cancelled
        )
        if target is not None and bool(self.rule.predicts(result.original.probabilities, result.target)):
            raise ClassifierError(f"{self.classifier.name} says {target} already.", "Choose another target class.")
        return result

    def _seen(self, view: ClassifierView) -> Seen:
        array, seen = view.array, view.seen
        flat = array[..., None] if array.ndim == 3 else array
        image = Image(flat.astype(np.float32), view.grid, view.image.id, self.classifier.inputs.spatial_dims)
        return Seen(image, seen.window, seen.below, seen.above, describe_contract(self.classifier))

    def _prediction(self, answer: np.ndarray) -> Prediction:
        return Prediction(self.classifier.classes[self.rule.label(answer)], named(self.classifier, answer))


def _copies(classifier: BlackBox) -> int:
    """Return how many answers one query costs."""
    while not isinstance(classifier, SmoothedBlackBox):
        inner = getattr(classifier, "inner", None)
        if inner is None:
            return 1
        classifier = inner
    return classifier.copies


def _volumes(
    judge: NativeJudge, chosen: ChosenEdit, measured: MeasuredEdit, carried: CarriedImages, of_value: bool
) -> Volumes:
    """Return everything that is shown, on the image's own grid."""
    view = judge.view
    image = view.image
    return Volumes(
        original=image,
        counterfactual=chosen.image,
        difference=image.with_array(chosen.change),
        effect=image.with_array(view.back(shown_effect(measured.along_path, of_value))),
        floor=image.with_array(view.back(judge.floor, view.seen.window)),
        regions=carried.regions,
        minimal=carried.minimal[1],
        path=carried.path_images,
        alternatives=tuple(volume for _, volume in carried.alternatives),
    )
