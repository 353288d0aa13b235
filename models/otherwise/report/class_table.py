"""The probability of each class for the original and for its changes, as a table for page and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otherwise.explain.explanation import Explanation, Probabilities
from otherwise.explain.value import ValueAnswer
from otherwise.report import value_words, words
from otherwise.report.headline import shown_changes


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: Of the class.
        kind: ``from``: the first answer; ``to``: the target; ``other``. It chooses the colour.
        probabilities: One for each column; None where the black box was not asked. Of a value: its place in the range.
        texts: What is written for each of them.
    """

    name: str
    kind: str
    probabilities: tuple[float | None, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassTable:
    """All classes, in the classifier's order.

    Attributes:
        columns: Names of the images.
        title: What the numbers are.
    """

    columns: tuple[str, ...]
    rows: tuple[ClassRow, ...]
    title: str = "Probability"

    def most_probable(self, most: int) -> Sequence[ClassRow]:
        """Return the first answer, the target and the most probable others, in the classifier's order."""
        order = sorted(self.rows, key=lambda row: (row.kind == "other", -max(p or 0.0 for p in row.probabilities)))
        return [row for row in self.rows if row in order[:most]]


def class_table(explanation: Explanation) -> ClassTable:
    """Return the table of an explanation."""
    changes = shown_changes(explanation)
    answers = (explanation.prediction.probabilities, *(change.found.probabilities for change in changes))
    columns = ("original", *(change.title[0].lower() + change.title[1:] for change in changes))
    if explanation.value is not None:
        return ClassTable(columns, (_value_row(explanation.value, answers),), "Value")
    kinds = {explanation.target: "to", explanation.prediction.label: "from"}
    return ClassTable(
        columns,
        tuple(
            _class_row(name, kinds.get(name, "other"), tuple(answer.get(name) for answer in answers))
            for name in explanation.prediction.probabilities
        ),
    )


def _class_row(name: str, kind: str, values: tuple[float | None, ...]) -> ClassRow:
    return ClassRow(name, kind, values, tuple("" if value is None else words.probability(value) for value in values))


def _value_row(value: ValueAnswer, answers: Sequence[Probabilities]) -> ClassRow:
    """Return the row of a value; a risk without a range is placed within three spreads about its reference."""
    kind = value.kind
    low, high = kind.range or (kind.reference - 3 * kind.spread, kind.reference + 3 * kind.spread)
    values = [value.of(answer) for answer in answers]
    places = tuple(min(max((each - low) / (high - low), 0.0), 1.0) for each in values)
    return ClassRow(kind.name, "to", places, tuple(value_words.amount_in_words(value, each) for each in values))
