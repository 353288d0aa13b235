"""The probability of each class for the original and for its changes, as a table for page and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otherwise.explain.explanation import Explanation
from otherwise.report.headline import full_change, minimal_change


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: Of the class.
        kind: ``from``: the first answer; ``to``: the target; ``other``. It chooses the colour.
        probabilities: One for each column; None where the black box was not asked.
    """

    name: str
    kind: str
    probabilities: tuple[float | None, ...]


@dataclass(frozen=True)
class ClassTable:
    """All classes, in the classifier's order.

    Attributes:
        columns: Names of the images.
    """

    columns: tuple[str, ...]
    rows: tuple[ClassRow, ...]

    def most_probable(self, most: int) -> Sequence[ClassRow]:
        """Return the first answer, the target and the most probable others, in the classifier's order."""
        order = sorted(self.rows, key=lambda row: (row.kind == "other", -max(p or 0.0 for p in row.probabilities)))
        return [row for row in self.rows if row in order[:most]]


def class_table(explanation: Explanation) -> ClassTable:
    """Return the table of an explanation."""
    changes = (minimal_change(explanation), full_change(explanation))
    answers = (explanation.prediction.probabilities, *(change.found.probabilities for change in changes))
    kinds = {explanation.target: "to", explanation.prediction.label: "from"}
    return ClassTable(
        ("original", *(change.title[0].lower() + change.title[1:] for change in changes)),
        tuple(
            ClassRow(name, kinds.get(name, "other"), tuple(answer.get(name) for answer in answers))
            for name in explanation.prediction.probabilities
        ),
    )
