"""Sentences about a value in its own unit. For classes, log-odds take its place."""

from __future__ import annotations

from otherwise.blackbox.output_kind import with_unit
from otherwise.explain.explanation import Explanation, Probabilities
from otherwise.explain.value import ValueAnswer


def amount_in_words(value: ValueAnswer, amount: float) -> str:
    """Return a value with its unit and, where there is one, its category."""
    category = value.kind.category_of(amount)
    percent = value.kind.percent_at_horizon(amount)
    more = [category] * bool(category) + ([f"{with_unit(percent, '%')} by the horizon"] if percent is not None else [])
    return with_unit(amount, value.kind.unit) + (f" ({', '.join(more)})" if more else "")


def answer_in_words(explanation: Explanation, probabilities: Probabilities) -> str:
    """Return the value of one of an explanation's answers, with its unit."""
    assert explanation.value is not None
    return amount_in_words(explanation.value, explanation.value.of(probabilities))


def question(value: ValueAnswer) -> str:
    """Return the sentence of the present value."""
    return f"The model puts the {value.kind.name} at {amount_in_words(value, value.original)}."


def question_of_patch(value: ValueAnswer, whole: Probabilities) -> str:
    """Return the sentence of the present value of a larger image and of a patch of it.

    Args:
        value: Of the patch.
        whole: The answer for the most suspicious patch, as :func:`of_whole` reads it.
    """
    patch, all_of_it = amount_in_words(value, value.original), of_whole(value, whole)
    this = "likewise" if patch == all_of_it else patch
    whole_image = f"the {value.kind.name} of the whole image at {all_of_it}, by its most suspicious patch"
    return f"The model puts {whole_image}, and that of this patch {this if this == 'likewise' else f'at {this}'}."


def of_whole(value: ValueAnswer, probabilities: Probabilities) -> str:
    """Return the value of a larger image with its unit; its two classes are the sides of the model's own reference."""
    return amount_in_words(value, value.of_whole(probabilities))


def answer(value: ValueAnswer, amount: float, changed: str, where: str) -> str:
    """Return the sentence of the change that gives another value.

    Args:
        value: Of the explanation.
        amount: The value of the change that is named.
        changed: How much of what changes, such as ``3 % of the image``.
        where: The end of the sentence: where, and that it looks as shown.
    """
    if not value.reached:
        return f"The nearest attempt reaches {amount_in_words(value, amount)}, not {value.question.text}."
    question = value.question
    reached = ""
    if question.reached(amount):
        asked = f" (asked for: {question.text}, within {with_unit(question.tolerance, '')})"
        reached = asked if _asks_for_one(value) else f", that is {question.text},"
    return f"It would say {amount_in_words(value, amount)}{reached} if {changed}{where}."


def effect_unit(explanation: Explanation) -> str:
    """Return the unit of measured effects."""
    if explanation.value is None:
        return "log-odds"
    unit = explanation.value.kind.unit
    return {"%": "percentage points", "1": "value"}.get(unit, unit)


def measured(explanation: Explanation) -> str:
    """Return what effects are measured of, in short: ``log-odds of malignant``."""
    if explanation.value is None:
        return f"log-odds of {explanation.target}"
    return f"{explanation.value.kind.name} ({effect_unit(explanation)})"


def towards(explanation: Explanation) -> str:
    """Return what effects are measured of, such as ``log-odds towards malignant``."""
    if explanation.value is None:
        return f"log-odds towards {explanation.target}"
    return f"{explanation.value.kind.name} ({effect_unit(explanation)}) towards the target, {target(explanation)}"


def origin(explanation: Explanation) -> str:
    """Return the first answer for a heading: the class, or the value."""
    value = explanation.value
    return explanation.prediction.label if value is None else amount_in_words(value, value.original)


def target(explanation: Explanation) -> str:
    """Return the target for a heading: the class, or the value in words."""
    return explanation.target if explanation.value is None else explanation.value.question.text


def destination(explanation: Explanation) -> str:
    """Return the end of the path for a heading: the class, the value that is asked for, or a threshold in words."""
    value = explanation.value
    if value is None or not _asks_for_one(value):
        return target(explanation)
    return with_unit((value.question.low + value.question.high) / 2, value.kind.unit)


def _asks_for_one(value: ValueAnswer) -> bool:
    """Return whether one value is asked for, with its tolerance, rather than a category or a threshold."""
    question = value.question
    return question.exact and question.high - question.low <= 2.001 * question.tolerance


def nothing_found(explanation: Explanation) -> str:
    """Return that the target was not reached."""
    if explanation.value is None:
        return "No change was found for which the model changes its mind"
    return f"No change was found for which the value is {target(explanation)}"


def of_point(explanation: Explanation, probabilities: Probabilities) -> str:
    """Return a value along the path."""
    assert explanation.value is not None
    return with_unit(explanation.value.of(probabilities), explanation.value.kind.unit)
