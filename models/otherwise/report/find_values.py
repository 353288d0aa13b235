"""What pages and tables say of finds: probabilities of classes, or a value in its unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otherwise.blackbox.concern import Concern, concern_of
from otherwise.blackbox.output_kind import with_unit
from otherwise.blackbox.protocol import BlackBox
from otherwise.finding.find import Find
from otherwise.report import words

PROBABLE = 0.5
"""Finds below this are drawn dashed."""


@dataclass(frozen=True)
class Cell:
    """One answer for a find.

    Attributes:
        share: Length of its bar, in [0, 1].
        text: For people.
    """

    share: float
    text: str


@dataclass(frozen=True)
class FindWords:
    """The words of finds of one classifier.

    Attributes:
        headings: Of the columns of :meth:`cells`.
        concern: Of a value; None: the classifier says classes.
    """

    headings: tuple[str, ...]
    concern: Concern | None

    @classmethod
    def of(cls, classifier: BlackBox) -> FindWords:
        """Return the words for a classifier's finds."""
        concern, patches = concern_of(classifier), classifier.inputs.patches
        if concern is not None:
            return cls((concern.kind.name,), concern)
        return cls(patches.wanted if patches else tuple(classifier.classes), None)

    @property
    def best(self) -> str:
        """Return what finds are ordered by, such as ``most probable`` or ``highest bone age``."""
        return "most probable" if self.concern is None else f"{self.concern.extreme} {self.concern.kind.name}"

    @property
    def listed(self) -> str:
        """Return which patch of each place is listed."""
        if self.concern is None:
            return "the most probable patch of each place"
        return f"the patch of the {self.best} in each place"

    @property
    def meaning(self) -> str:
        """Return what the numbers of the table mean."""
        if self.concern is None:
            return (
                "A high probability says what the model would call the patch, not that something is there. A low one "
                "does not say that nothing is there."
            )
        return "A value is what the model says of the patch alone; it is no measurement."

    @property
    def dashed(self) -> str:
        """Return which places are dashed in an overview."""
        concern = self.concern
        if concern is None:
            return "places with a probability below one half are dashed"
        if concern.threshold is not None:
            return f"places that are not {concern.text} are dashed"
        side = "below" if concern.upwards else "above"
        return (
            f"places {side} the model's reference, {with_unit(concern.kind.reference, concern.kind.unit)}, are dashed"
        )

    def cells(self, find: Find) -> list[Cell]:
        """Return the answers for a find, one for each heading."""
        if self.concern is None or find.value is None:
            found = [find.probabilities[name] for name in self.headings]
            return [Cell(value, words.probability(value)) for value in found]
        low, high = self.concern.kind.range or (find.value, find.value)
        share = (find.value - low) / (high - low) if high > low else find.probability
        return [Cell(min(max(share, 0.0), 1.0), self.concern.in_words(find.value))]

    def result(self, finds: Sequence[Find]) -> tuple[str, str]:
        """Return what was found, and what the first find is, each as a sentence.

        Args:
            finds: Best first.
        """
        if self.concern is None:
            return _of_classes(finds, self.headings)
        return _of_values(finds, self.concern)


def _of_classes(finds: Sequence[Find], wanted: Sequence[str]) -> tuple[str, str]:
    names = " or ".join(wanted)
    if not finds:
        return f"The model was asked about every patch and shows no place for {names}.", ""
    probable = sum(find.probability >= PROBABLE for find in finds)
    if len(finds) == 1:
        first = f"The model {'calls' if probable else 'does not call'} the most probable place {names}."
    else:
        first = f"The model calls {probable or 'none'} of the {len(finds)} most probable places {names}."
    best = max(wanted, key=lambda name: finds[0].probabilities[name])
    probability = words.probability(finds[0].probabilities[best])
    return first, f"No. {finds[0].rank} is the most probable: {best} ({probability})."


def _of_values(finds: Sequence[Find], concern: Concern) -> tuple[str, str]:
    name, extreme = concern.kind.name, concern.extreme
    if not finds:
        return f"The model was asked about every patch and shows no place of the {extreme} {name}.", ""
    assert finds[0].value is not None
    first, number = concern.in_words(finds[0].value), finds[0].rank
    if concern.threshold is not None:
        beyond = sum(find.probability >= PROBABLE for find in finds)
        if len(finds) > 1:
            sentence = f"{concern.text} at {beyond or 'none'} of the {len(finds)} places of the {extreme} {name}"
        else:
            sentence = f"{concern.text} {'at' if beyond else 'nowhere, not even at'} the place of the {extreme} {name}"
        return f"The model says {sentence}.", f"No. {number} is the {extreme}: {first}."
    if len(finds) == 1 or finds[-1].value is None:
        return f"The model puts the {extreme} {name} here: {first}.", ""
    last = concern.in_words(finds[-1].value)
    return f"The {len(finds)} places of the {extreme} {name}: {first} to {last}.", f"No. {number} is the {extreme}."
