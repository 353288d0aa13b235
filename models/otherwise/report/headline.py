"""The change that the headline names, which is also the first one in pictures."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.explain.explanation import Counterfactual, Explanation
from otherwise.images.image import Image
from otherwise.report import words


@dataclass(frozen=True)
class ShownChange:
    """One changed image.

    Attributes:
        title: What it is called everywhere in a report.
        found: The black box's answer to it.
        image: The changed image; of a large original it lies on a coarser grid, see ``view.LOOKED_AT``.
        minimal: Whether it is limited to what is needed.
    """

    title: str
    found: Counterfactual
    image: Image
    minimal: bool


def minimal_change(explanation: Explanation) -> ShownChange:
    """Return the original with only the needed part of the counterfactual."""
    title = "Minimal change" if explanation.minimal.valid else "Minimal change: none found"
    return ShownChange(title, explanation.minimal, explanation.volumes.minimal, minimal=True)


def full_change(explanation: Explanation) -> ShownChange:
    """Return the whole counterfactual or, where none flips the black box, the nearest attempt."""
    found = explanation.counterfactual
    title = "Full counterfactual" if found.valid else "Nearest attempt"
    return ShownChange(title, found, explanation.volumes.counterfactual, minimal=False)


def headline_change(explanation: Explanation) -> ShownChange:
    """Return the change that the headline names: the minimal one, where there is one in a decisive region."""
    minimal = explanation.counterfactual.valid and explanation.minimal.valid and bool(explanation.regions)
    return minimal_change(explanation) if minimal else full_change(explanation)


def other_change(explanation: Explanation) -> ShownChange:
    """Return the change that the headline does not name."""
    minimal = headline_change(explanation).minimal
    return full_change(explanation) if minimal else minimal_change(explanation)


def question(explanation: Explanation) -> str:
    """Return what the model says now."""
    prediction, thresholds = explanation.prediction, explanation.thresholds
    said = words.with_probability(prediction.label, prediction.probabilities)
    threshold = f"; its threshold is {words.probability(thresholds[prediction.label])}" if thresholds else ""
    return f"The model says {said}{threshold}."


def answer(explanation: Explanation) -> str:
    """Return what would make the model decide otherwise, in one sentence."""
    target, shown = explanation.target, headline_change(explanation)
    said = words.with_probability(target, shown.found.probabilities)
    if not explanation.counterfactual.valid:
        return f"The nearest attempt reaches {said}."
    changed = words.share(shown.found.changed_fraction)
    if not shown.minimal:
        return f"It would say {said} if {changed} of the image changed as shown."
    where = "region" if len(explanation.regions) == 1 else "regions"
    names = [name for name in map(words.concept_name, explanation.regions) if name]
    called = f" ({words.few(names)})" if names else ""
    return f"It would say {said} if {changed} of the image, inside the outlined {where}{called}, looked as shown."
