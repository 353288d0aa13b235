"""Carry edits from the classifier's grid to the image's own, and ask the black box about them there.

The images are only looked at: those of a large image lie on a coarser grid, see ``view.LOOKED_AT``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation import magnified
from otherwise.agent.editing.realism import realism
from otherwise.agent.editing.search_result import SearchResult
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.explain.explanation import Counterfactual, Deformation, PathPoint, Probabilities
from otherwise.explain.measurement import MeasuredEdit, label_map
from otherwise.explain.view import ClassifierView
from otherwise.images.image import Geometry, Image
from otherwise.influence.parts import composite, soft

MAX_PATH = 7
"""Most images of the path that are kept."""


@dataclass(frozen=True, eq=False)
class NativeJudge:
    """Asks the black box about edits on the full image.

    Attributes:
        view: The image as the classifier sees it.
        classifier: The black box.
        rule: When it says a class.
        target: Index of the class to flip to.
        floor: ``size``: the autoencoder's own error; smaller changes do not count as changed.
    """

    view: ClassifierView
    classifier: BlackBox
    rule: DecisionRule
    target: int
    floor: np.ndarray

    def judge(self, seen: np.ndarray) -> Counterfactual:
        """Ask about a changed image ``(channels, *size)`` that came back from the full image."""
        answer = self.classifier.predict(seen[None])[0]
        change = np.abs(seen - self.view.array)
        return Counterfactual(
            valid=bool(self.rule.predicts(answer, self.target)),
            probabilities=named(self.classifier, answer),
            changed_fraction=float((change.max(axis=0) > self.floor).mean()),
            l1=float(change.mean()),
        )

    def carry(
        self, edited: np.ndarray, displacement: np.ndarray | None = None, native: Image | None = None
    ) -> tuple[np.ndarray, Image]:
        """Return what the classifier sees of an edit on the full image, and the image to look at.

        Only one full image is held at a time.

        Args:
            edited: ``(channels, *size)``.
            displacement: Of an edit that only deforms, see ``Candidate``.
            native: The edit on the full image, where it exists already.
        """
        view = self.view
        native = view.carry(edited, None, displacement) if native is None else native
        seen = view.see(native)
        return seen, native if view.small is view.image else view.carry(edited, view.small, displacement)

    def carry_and_judge(
        self, edited: np.ndarray, displacement: np.ndarray | None = None
    ) -> tuple[Counterfactual, Image]:
        """Return the answer for an edit on the full image, and the image to look at."""
        seen, image = self.carry(edited, displacement)
        return self.judge(seen), image


@dataclass(frozen=True, eq=False)
class ChosenEdit:
    """The edit that is explained.

    Attributes:
        candidate: On the classifier's grid.
        answer: For the full image.
        change: Of the full image, in its units.
        image: The full image with the change.
    """

    candidate: Candidate
    answer: Counterfactual
    change: np.ndarray
    image: Image


def choose_edit(judge: NativeJudge, result: SearchResult) -> ChosenEdit:
    """Choose the least edit that flips the black box on the full image too; without any, the best on its own grid.

    The way to the full image smooths an edit a little, so that one that just flips may no longer do so there.
    """
    for candidate in result.tried:
        enough = result.valid and candidate.strength >= result.best.strength
        if enough and judge.rule.predicts(candidate.probabilities, result.target):
            chosen = carried(judge, candidate)
            if chosen.answer.valid:
                return chosen
            del chosen  # its voxels, before the next ones are made
    return carried(judge, result.best)


def carried(judge: NativeJudge, candidate: Candidate) -> ChosenEdit:
    """Carry an edit onto the original, and ask the black box about the result."""
    change = judge.view.change(candidate.image, displacement=candidate.displacement)
    native = judge.view.put(change)
    return ChosenEdit(candidate, judge.judge(judge.view.see(native)), change, native)


def with_realism(chosen: ChosenEdit, judge: NativeJudge, agent: Agent) -> ChosenEdit:
    """Add how real the changed image looks to the agent, as the classifier sees it."""
    probabilities = np.array(list(chosen.answer.probabilities.values()))
    score = realism(agent, judge.view.see(chosen.image), probabilities)
    return replace(chosen, answer=replace(chosen.answer, realism=score))


@dataclass(frozen=True, eq=False)
class CarriedImages:
    """The images that are shown beside the chosen edit, with the black box's answers."""

    minimal: tuple[Counterfactual, Image]
    path: tuple[PathPoint, ...]
    path_images: tuple[Image, ...]
    alternatives: tuple[tuple[Counterfactual, Image], ...]
    regions: Image


def carry_images(judge: NativeJudge, result: SearchResult, chosen: ChosenEdit, measured: MeasuredEdit) -> CarriedImages:
    """Carry the minimal change, the path, the alternatives and the regions to the image, and ask about each."""
    steps = _thinned(result.path_to(chosen.candidate), chosen.candidate)
    path = [judge.carry(c.image, c.displacement, chosen.image if c is chosen.candidate else None) for c in steps]
    answers = judge.classifier.predict(np.stack([seen for seen, _ in path]))
    if chosen.candidate.displacement is None:
        needed = composite(judge.view.array, chosen.candidate.image, soft(measured.minimal))
        minimal = judge.carry_and_judge(needed)
    else:  # a deformation has no parts: the minimal edit is the whole, which is on the path already
        strengths = [each.strength for each in steps]
        minimal = chosen.answer, path[strengths.index(chosen.candidate.strength)][1]
    return CarriedImages(
        minimal=minimal,
        path=tuple(
            PathPoint(c.strength, named(judge.classifier, answer), bool(judge.rule.predicts(answer, result.target)))
            for c, answer in zip(steps, answers, strict=True)
        ),
        path_images=tuple(image for _, image in path),
        alternatives=tuple(judge.carry_and_judge(c.image, c.displacement) for c in result.alternatives),
        regions=judge.view.labels_back(label_map(measured.regions, measured.effect.shape)),
    )


def deformation_of(displacement: np.ndarray, grid: Geometry) -> Deformation:
    """Return how far a deformation moves and magnifies.

    Args:
        displacement: ``(dimensions, *size)`` in voxels of ``grid``, faded at the border of a patch.
        grid: Where it lies.
    """
    moved = np.tensordot(grid.affine[:3, : len(displacement)], displacement, 1)
    growth = magnified(torch.from_numpy(displacement)[None])
    furthest = float(np.linalg.norm(moved, axis=0).max())
    return Deformation(round(furthest, 4), round(float(growth.min()), 4), round(float(growth.max()), 4))


def named(classifier: BlackBox, answer: np.ndarray) -> Probabilities:
    """Return an answer ``(classes,)`` by the names of the classes."""
    return {name: float(value) for name, value in zip(classifier.classes, answer, strict=True)}


def _thinned(path: Sequence[Candidate], best: Candidate, most: int = MAX_PATH) -> tuple[Candidate, ...]:
    """Return at most ``most`` images of the path, evenly, with the first, the best and the last among them."""
    if len(path) <= most:
        return tuple(path)
    wanted = {round(x) for x in np.linspace(0, len(path) - 1, most - 1)}
    return tuple(c for index, c in enumerate(path) if index in wanted or c.strength == best.strength)
