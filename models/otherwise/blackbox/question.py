"""A question about a value: what would make it another one? And the black box of two classes that answers it.

A target is a side of a threshold ("below 10 %"), an amount ("20 months less") or a value ("200 mm"). A value counts as
reached within a tolerance (Ha & Bender, arXiv 2503.20595: ``|f(x') - y| <= tolerance``). Each question has a *cut*: the
values on the far side of it have come far enough. As two classes at the cut, with the log-odds ``(value - cut) /
spread``, the model is a black box like any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.output_kind import (
    MOST_SPREADS,
    NO_VALUE,
    FarValueError,
    OutputKind,
    two_classes,
    two_sides,
    with_unit,
)
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import OtherwiseError

_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
_TARGET = re.compile(rf"(<=|>=|<|>|==|=)?\s*{_NUMBER}\s*(.*)", re.IGNORECASE)
_WORDS = {"below": "<", "under": "<", "at most": "<=", "above": ">", "over": ">", "at least": ">="}
_AMOUNTS = {"less": -1.0, "lower": -1.0, "more": 1.0, "higher": 1.0}
EXAMPLES = 'Write "<10", ">=50", "-20" (so much less), "+20", or "=200" (that value).'
DEEP = 0.5
"""Share of the tolerance by which a value should lie beyond the cut, so that a small change does not undo it."""


NEAR = 0.999
"""Share of ``MOST_SPREADS`` beyond which a value counts as too far to be read back."""


class TargetError(OtherwiseError):
    """A target value cannot be understood, is out of range, or is reached already."""

    code = "target"
    status = 422


@dataclass(frozen=True)
class Question:
    """What value is asked for.

    Attributes:
        text: The target for people, such as ``below 10 %``.
        low, high: Values that count as reached; infinite on the open side of a threshold.
        cut: The end of them that the original is nearer to.
        upwards: Whether the value has to rise.
        exact: Whether a value is asked for, so that going too far does not count; else a threshold.
        spread: Value of one log-odds.
        tolerance: See ``OutputKind``.
        aim: Value that the search goes for: a little beyond the cut, but within the range.
        classes: The two sides of the cut, for people.
        unit: Of the values.
        name: What the value is, such as ``bone age``.
    """

    text: str
    low: float
    high: float
    cut: float
    upwards: bool
    exact: bool
    spread: float
    tolerance: float
    aim: float
    classes: tuple[str, str]
    unit: str
    name: str = ""

    @classmethod
    def of(cls, kind: OutputKind, *, text: str, low: float, high: float, upwards: bool, tolerance: float) -> Question:
        """Return the question for the values from ``low`` to ``high``, one of which may be infinite."""
        cut, exact = (low if upwards else high), math.isfinite(low) and math.isfinite(high)
        least, most = kind.range or (-math.inf, math.inf)
        room = most - cut if upwards else cut - least
        aim = cut + min(DEEP * tolerance, max(room, 0.0) / 2) * (1 if upwards else -1)
        aim = min(max(aim, low), high)
        sides = two_sides(kind.unit, cut)
        return cls(text, low, high, cut, upwards, exact, kind.spread, tolerance, aim, sides, kind.unit, kind.name)

    @property
    def target(self) -> int:
        """Return the index of the class to reach."""
        return int(self.upwards)

    @property
    def confidence(self) -> float:
        """Return the probability of the target class at ``aim``."""
        return float(two_classes(np.array((self.aim - self.cut) / self.spread))[self.target])

    @property
    def sign(self) -> float:
        """Return 1 where the value has to rise, -1 where it has to fall."""
        return 1.0 if self.upwards else -1.0

    def value_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the values ``(...)`` that answers ``(..., 2)`` of the two sides stand for."""
        return np.asarray(self.cut + self.spread * decision_value(probabilities, 1))

    def reached(self, value: float) -> bool:
        """Return whether a value is the target's, and near enough to be read back from an answer."""
        return self.low <= value <= self.high and abs(value - self.cut) < NEAR * MOST_SPREADS * self.spread

    def shift(self, kind: OutputKind) -> float:
        """Return what is added to the log-odds at the model's reference to have those at the cut."""
        return (kind.reference - self.cut) / self.spread


class QuestionBox:
    """A model that says a value, as a black box of two classes: the sides of a question's cut.

    Args:
        inner: The model, or the black box of another question about it.
        value_of: Its answers to values: ``OutputKind.value_of``, or ``Question.value_of`` of the other question.
        question: The question.

    Attributes:
        far: How many of the images so far had a value too far from the reference to be read back. Their answer is
            the furthest one that can be; it never reaches the target.
    """

    answer = NO_VALUE

    def __init__(self, inner: BlackBox, value_of: Callable[[np.ndarray], np.ndarray], question: Question) -> None:
        self.inner, self.question, self.far = inner, question, 0
        self._value_of = value_of
        self.name, self.version, self.inputs = inner.name, inner.version, inner.inputs
        self.classes: tuple[str, ...] = question.classes
        self.multi_label = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of the two sides; see ``BlackBox.predict``."""
        log_odds = (self._values(images) - self.question.cut) / self.question.spread
        return two_classes(log_odds.clip(-MOST_SPREADS, MOST_SPREADS))

    def _values(self, images: np.ndarray) -> np.ndarray:
        """Return the values ``(batch,)``; where one of a batch is too far to be read back, each is asked for alone."""
        try:
            return self._value_of(self.inner.predict(images))
        except FarValueError as error:
            if len(images) > 1:
                return np.concatenate([self._values(image[None]) for image in images])
            self.far += 1
            return np.array([error.value])


def ask(kind: OutputKind, value: float, target: str | None = None, tolerance: float | None = None) -> Question:
    """Make a question of a target.

    Args:
        kind: What the model says.
        value: What it says of the image.
        target: ``<10``, ``>=50``, ``-20`` or ``+20`` (an amount), ``200`` or ``=200`` (a value), ``below 10``, ``20
            less``, the name of a category; the unit may follow a number. None: the nearest other category or, where
            none is named, one spread towards the reference (away from it where the range ends within the tolerance).
        tolerance: Within which a value counts as reached; None: the model's own.

    Raises:
        TargetError: if it cannot be understood, is out of range, or is reached already.
    """
    within = kind.tolerance if tolerance is None else tolerance
    if not (math.isfinite(within) and within > 0):
        raise TargetError(f"A tolerance of {within:g} is no distance.", f"Give one above 0, in {kind.unit}.")
    low, high, text = wanted_values(kind, value, target, within)
    if low <= value <= high:
        raise TargetError(
            f"The model says {with_unit(value, kind.unit)} already, which is {text}.", "Choose another target."
        )
    return Question.of(kind, text=text, low=low, high=high, upwards=value < low, tolerance=within)


def wanted_values(kind: OutputKind, value: float, target: str | None, within: float) -> tuple[float, float, str]:
    """Return the lowest and highest value that count as reached, and the target in words."""
    if target is None or not target.strip():
        return _usual(kind, value, within)
    names = {name.casefold(): name for name, _ in kind.categories}
    text = " ".join(target.split())
    if text.casefold() in names:
        return _category(kind, names[text.casefold()])
    for words, sign in _WORDS.items():
        if text.casefold().startswith(f"{words} "):
            text = sign + text[len(words) :].strip()
    found = _TARGET.fullmatch(text)
    number = float(found[2]) if found else math.nan
    if found is None or not math.isfinite(number):
        known = f" Categories: {', '.join(names.values())}." if names else ""
        raise TargetError(f"The target {target!r} is no value.", EXAMPLES + known)
    sign, signed, rest = found[1] or "", found[2][0] in "+-", found[3].strip()
    unit, _, word = rest.rpartition(" ")
    amount = _AMOUNTS.get(word.casefold())
    unit = rest if amount is None else unit
    if amount is not None and (sign or signed):
        raise TargetError(f"The target {target!r} says twice which way to go.", EXAMPLES)
    points = kind.unit == "%" and unit.casefold() in ("points", "percentage points")
    if unit and not points and unit.casefold() != kind.unit.casefold():
        raise TargetError(f"The target {target!r} is not in {kind.unit}, the model's unit.", EXAMPLES)
    least, most = kind.range or (-math.inf, math.inf)
    if sign in ("<", "<="):
        _check_range(kind, number, target)
        _check_side(kind, target, number <= least and sign == "<")
        words = f"{'below' if sign == '<' else 'at most'} {_in_words(kind, number)}"
        return -math.inf, _before(number, -1, sign), words
    if sign in (">", ">="):
        _check_range(kind, number, target)
        _check_side(kind, target, number >= most and sign == ">")
        return _before(number, 1, sign), math.inf, f"{'above' if sign == '>' else 'at least'} {_in_words(kind, number)}"
    if not sign and (signed or amount is not None):
        goal = value + number * (amount or 1.0)
        _check_range(kind, goal, target)
        return _around(kind, goal, within, _amount(kind, goal - value))
    _check_range(kind, number, target)
    return _around(kind, number, within, _in_words(kind, number))


def _usual(kind: OutputKind, value: float, within: float) -> tuple[float, float, str]:
    """Return the default target."""
    own = kind.category_of(value)
    cuts = [low for _, low in kind.categories if low > (kind.range[0] if kind.range else -math.inf)]
    if cuts:
        nearest = min(cuts, key=lambda cut: abs(cut - value))
        names = [name for name, _ in kind.categories]
        below = next((index for index, (_, low) in enumerate(kind.categories) if low == nearest), 0)
        if value >= nearest:
            name = names[below - 1] if below else ""
            low, high, text = _category(kind, name) if name else (-math.inf, _before(nearest, -1, "<"), "")
            return (low, high, text) if text else (low, high, f"below {_in_words(kind, nearest)}")
        if names[below] != own:
            return _category(kind, names[below])
    least, most = kind.range or (-math.inf, math.inf)
    step = -math.copysign(kind.spread, value - kind.reference)
    goal = min(max(value + step, least), most)
    if abs(goal - value) <= within:  # the end of the range is too near
        goal = min(max(value - step, least), most)
    return _around(kind, goal, within, _amount(kind, goal - value))


def _category(kind: OutputKind, name: str) -> tuple[float, float, str]:
    """Return the range of a category; from outside of it, its nearer threshold is the target."""
    index = [known for known, _ in kind.categories].index(name)
    low = kind.categories[index][1]
    low = -math.inf if kind.range and low <= kind.range[0] else low
    last = index == len(kind.categories) - 1
    high = math.inf if last else _before(kind.categories[index + 1][1], -1, "<")
    ends = [f"from {_in_words(kind, low)}"] * math.isfinite(low)
    ends += [f"below {_in_words(kind, kind.categories[index + 1][1])}"] if not last else []
    return low, high, f"{name} ({', '.join(ends)})" if ends else name


def _around(kind: OutputKind, goal: float, within: float, text: str) -> tuple[float, float, str]:
    least, most = kind.range or (-math.inf, math.inf)
    return max(goal - within, least), min(goal + within, most), text


def _before(number: float, direction: int, sign: str) -> float:
    """Return the outermost value of a side: the number itself, or the next one where it does not belong to it."""
    return number if sign.endswith("=") else float(np.nextafter(number, direction * math.inf))


def _check_range(kind: OutputKind, value: float, target: str) -> None:
    low, high = kind.range or (-math.inf, math.inf)
    if not low <= value <= high:
        raise TargetError(
            f"The target {target!r} asks for {_in_words(kind, value)}, outside of {low:g} to {high:g}.",
            f"Ask for a {kind.name} within that range.",
        )


def _check_side(kind: OutputKind, target: str, empty: bool) -> None:
    """Refuse a threshold beyond which the range holds no value."""
    if empty and kind.range:
        low, high = kind.range
        raise TargetError(f"No {kind.name} is {target}: it lies within {low:g} to {high:g}.", "Choose another target.")


def _in_words(kind: OutputKind, value: float) -> str:
    return with_unit(value, kind.unit)


def _amount(kind: OutputKind, amount: float) -> str:
    """Return an amount in words; that of a percentage is in points, since 20 % less of it could mean a fifth."""
    size = with_unit(abs(amount), "percentage points" if kind.unit == "%" else kind.unit)
    return f"{size} {'more' if amount > 0 else 'less'}"
