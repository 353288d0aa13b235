"""The change that the headline names, which is also the first one in pictures."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.explain.explanation import Counterfactual, Explanation, Place, Probabilities
from otherwise.images.image import Image
from otherwise.report import value_words, words


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
    whole = "Deformed image" if explanation.deformation else "Full counterfactual"
    title = whole if found.valid else "Nearest attempt"
    return ShownChange(title, found, explanation.volumes.counterfactual, minimal=False)


def headline_change(explanation: Explanation) -> ShownChange:
    """Return the change that the headline names: the minimal one, where there is one in a decisive region."""
    if explanation.deformation:
        return full_change(explanation)
    minimal = explanation.counterfactual.valid and explanation.minimal.valid and bool(explanation.regions)
    return minimal_change(explanation) if minimal else full_change(explanation)


def other_change(explanation: Explanation) -> ShownChange | None:
    """Return the change that the headline does not name; of a deformation there is one only."""
    if explanation.deformation:
        return None
    minimal = headline_change(explanation).minimal
    return full_change(explanation) if minimal else minimal_change(explanation)


def shown_changes(explanation: Explanation) -> tuple[ShownChange, ...]:
    """Return the changes that a report shows, the least first."""
    full = full_change(explanation)
    return (full,) if explanation.deformation else (minimal_change(explanation), full)


def question(explanation: Explanation) -> str:
    """Return what the model says now: of a patch of a larger image first what it says of the whole."""
    prediction, thresholds = explanation.prediction, explanation.thresholds
    place, value = explanation.place, explanation.value
    if value is not None:
        return value_words.question_of_patch(value, place.before) if place else value_words.question(value)
    with_share = words.with_probability(prediction.label, prediction.probabilities)
    threshold = f"; its threshold is {words.probability(thresholds[prediction.label])}" if thresholds else ""
    if place is None:
        return f"The model says {with_share}{threshold}."
    whole = words.with_probability(_called(place, place.before, place.label_before), place.before)
    this = "likewise" if with_share == whole else with_share
    return f"The model calls the whole image {whole} by its most suspicious patch, and this patch {this}{threshold}."


def answer(explanation: Explanation) -> str:
    """Return what would make the model decide otherwise: of a patch of a larger image first whether the whole does."""
    patch = _answer(explanation)
    place = explanation.place
    if place is None:
        return patch
    if explanation.value is not None:
        if not explanation.counterfactual.valid:
            return patch
        after = value_words.of_whole(explanation.value, place.after)
        return f"With this patch changed, it would say {after} for the whole image. {patch}"
    label = _called(place, place.after, place.label_after)
    after = words.with_probability(label, place.after)
    before = _called(place, place.before, place.label_before)
    if not explanation.counterfactual.valid:
        return f"The whole image stays {before}. {patch}"
    if label != before:
        return f"With this patch changed, the whole image would be {after}. {patch}"
    kept = f"The whole image stays {after}. Only this patch is called otherwise."
    return f"{kept} {patch}" + (f" {whole_story(place)}" if place.steps else "")


def whole_story(place: Place) -> str:
    """Return what became of the whole image while one patch after the other was changed."""
    label = _called(place, place.before, place.label_before)
    changed = [step for step in place.steps if step.valid]
    if not changed:
        return ""
    left = ", then ".join(words.probability(step.after[label]) for step in changed)
    count = f"{len(changed)} patches were" if len(changed) > 1 else "one patch was"
    flipped = words.answers(changed[-1].after, label) is False
    end = f"no longer called {label}" if flipped else f"still called {label}"
    stopped = "" if changed[-1] is place.steps[-1] else " For the next patch no change was found."
    return (
        f"After {count} changed, one after the other, the whole image is {end}; its probability of {label} after each: "
        f"{left}.{stopped}"
    )


def _called(place: Place, probabilities: Probabilities, label: str) -> str:
    """Return a class of the whole image, which explanations of earlier versions do not name."""
    return label or max(probabilities, key=lambda name: probabilities[name])


def _answer(explanation: Explanation) -> str:
    """Return what would make the model decide otherwise about the image, or the patch."""
    target, shown = explanation.target, headline_change(explanation)
    with_share = words.with_probability(target, shown.found.probabilities)
    of = part_name(explanation)
    deformed = _deformed(explanation)
    if explanation.value is not None:
        amount = explanation.value.of(shown.found.probabilities)
        if deformed:
            return value_words.answer(explanation.value, amount, "what the image shows", deformed)
        where = _inside(explanation) if shown.minimal else " looked as shown"
        part = f"{words.share(shown.found.changed_fraction)} of the {of}"
        return value_words.answer(explanation.value, amount, part, where)
    if not explanation.counterfactual.valid:
        return f"The nearest attempt{' at the patch' if explanation.place else ''} reaches {with_share}."
    changed = words.share(shown.found.changed_fraction)
    says, part = ("The patch would be", "it") if explanation.place else ("It would say", "the image")
    if deformed:
        return f"{says} {with_share} if what {part} shows{deformed}."
    if not shown.minimal:
        return f"{says} {with_share} if {changed} of {part} changed as shown."
    return f"{says} {with_share} if {changed} of {part}{_inside(explanation)}."


def _deformed(explanation: Explanation) -> str:
    """Return the end of a sentence about a deformation; nothing of a drawn change."""
    found = explanation.deformation
    if found is None:
        return ""
    unit = explanation.volumes.original.unit
    return f" were deformed as shown, by up to {found.furthest:.2g} {'mm' if unit == 'mm' else 'pixels'}"


def _inside(explanation: Explanation) -> str:
    """Return the end of a sentence about a change within the decisive regions."""
    where = "region" if len(explanation.regions) == 1 else "regions"
    names = [name for name in map(words.concept_name, explanation.regions) if name]
    called = f" ({words.few(names)})" if names else ""
    return f", inside the outlined {where}{called}, looked as shown"


def part_name(explanation: Explanation) -> str:
    """Return what shares of the change are shares of: the image, or the patch of a larger one."""
    return "patch" if explanation.place else "image"
