"""The concepts of an explanation, ready to be laid out on a page or on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Key
from otherwise.explain.explanation import ConceptEntry, Concepts, Explanation
from otherwise.report import value_words, words
from otherwise.report.colours import CONCEPTS
from otherwise.report.examples import ExamplePatch, Examples, cut_patch

PICTURES = 3
"""Most example patches of a concept."""
UNNAMED = "Unknown"


@dataclass(frozen=True)
class ConceptRow:
    """One concept with its numbers, its pictures, and the lengths of its bars.

    Attributes:
        mark: Its letter in the stacked bar; empty for changes without a name.
        name: Its words.
        code: Coding scheme and code; empty for changes without a name.
        colour: Of its part of the stacked bar, ``#rrggbb``; empty for what has no name, which is hatched.
        spurious: Whether it is no feature of a disease.
        entry: The numbers.
        effect, units, activation, area: Lengths of bars in [0, 1], the longest of the column 1; None: nothing to
            measure (no unit carries the name), or, of the units without a name, so many that all others would vanish.
        pictures: Examples of it, or else the regions of this image that show it.
    """

    mark: str
    name: str
    code: str
    colour: str
    spurious: bool
    entry: ConceptEntry
    effect: float
    units: float | None
    activation: float | None
    area: float | None
    pictures: tuple[ExamplePatch, ...]


@dataclass(frozen=True)
class ConceptPart:
    """The part of a report about concepts.

    Attributes:
        sentence: How much of the decisive change has a name, and which; by how much it moves a value.
        warning: How far the decision rests on what is no feature of a disease; empty where it does not.
        rows: As the explanation orders them; what has no name last.
        stack: Rows that have a share in the decisive change, and that share in per cent of all shares.
        version: Of the names.
    """

    sentence: str
    warning: str
    rows: tuple[ConceptRow, ...]
    stack: tuple[tuple[ConceptRow, float], ...]
    version: str


def concept_part(
    explanation: Explanation,
    window: tuple[float, float],
    examples: Examples | None = None,
    spurious: Collection[Key] = (),
) -> ConceptPart | None:
    """Lay out the concepts of an explanation; None if the server has learned none.

    Args:
        explanation: With or without concepts.
        window: Values of its volumes that become black and white.
        examples: Patches by term; a term without any is shown by this image's own regions.
        spurious: Terms that are no feature of a disease.
    """
    concepts = explanation.concepts
    if concepts is None:
        return None
    # A name that only units carry, and no region that decides, is no finding of this image.
    shown = [entry for entry in concepts.entries if entry.term is None or entry.share > 0]
    entries = sorted(shown, key=lambda entry: entry.term is None)
    named = [entry for entry in entries if entry.term]
    effect, units, activation, area = (
        _length(entries, lambda entry: abs(entry.effect)),
        _length(named, lambda entry: entry.units),
        _length(entries, lambda entry: entry.activation),
        _length(entries, lambda entry: entry.area),
    )
    rows = []
    for place, entry in enumerate(entries):
        term, colour = entry.term, CONCEPTS[place % len(CONCEPTS)]
        rows.append(
            ConceptRow(
                mark=_letter(place) if term else "",
                name=term.meaning if term else UNNAMED,
                code=f"{term.scheme} {term.code}" if term else "",
                colour=colour if term else "",
                spurious=term is not None and term.key in spurious,
                entry=entry,
                effect=effect(entry),
                units=units(entry) if term else None,
                activation=activation(entry) if entry.units else None,
                area=area(entry) if entry.units else None,
                pictures=_pictures(entry, explanation, window, examples or {}),
            )
        )
    sentence = _sentence(concepts) + _moved(explanation, concepts)
    return ConceptPart(sentence, _warning(rows), tuple(rows), _stack(rows), concepts.version)


def _sentence(concepts: Concepts) -> str:
    shown = [entry for entry in concepts.entries if entry.share > 0]
    if not shown:
        return "No region was found that decides, so there is no decisive change to name."
    named = sorted((entry for entry in shown if entry.term), key=lambda entry: -entry.share)
    if not named:
        return f"{_inside(concepts)}Nothing of the decisive change has a name yet: all of it is unknown."
    names = words.few(f"{entry.term.meaning} ({words.share(entry.share)})" for entry in named if entry.term)
    rest = 1 - concepts.named_share
    ending = f" {words.share(rest)} is unknown." if rest > 1e-4 else " Nothing is unknown."
    return f"{_inside(concepts)}{words.share(concepts.named_share)} of the decisive change has a name: {names}.{ending}"


def _moved(explanation: Explanation, concepts: Concepts) -> str:
    """Return by how much each named change moves the value, in its unit; empty for classes."""
    value = explanation.value
    named = sorted((each for each in concepts.entries if each.term and each.share > 0), key=lambda each: -each.share)
    if value is None or not named:
        return ""
    # Effects are positive towards the target, which may be a lower value.
    sign = 1 if value.question.upwards else -1
    unit = "" if value.kind.unit == "1" else f" {value_words.effect_unit(explanation)}"
    moves = words.few(f"{each.term.meaning} {sign * each.effect:+.3g}{unit}" for each in named if each.term)
    return f" Changing them moves the {value.kind.name}: {moves}."


def _inside(concepts: Concepts) -> str:
    """Return a sentence on the share of the effect that lies in the regions; empty if all of it does."""
    if concepts.in_regions > 0.995:
        return ""
    held = words.share(concepts.in_regions)
    return f"The regions hold {held} of the effect, the rest is spread outside them. Of what they hold: "


def _warning(rows: Iterable[ConceptRow]) -> str:
    shortcuts = sorted((row for row in rows if row.spurious and row.entry.share > 0), key=lambda row: -row.entry.share)
    if not shortcuts:
        return ""
    total = words.share(min(1.0, sum(row.entry.share for row in shortcuts)))
    if len(shortcuts) == 1:
        return f"The decision rests {total} on {shortcuts[0].name}, which is no feature of a disease."
    names = words.few(f"{row.name} ({words.share(row.entry.share)})" for row in shortcuts)
    return f"The decision rests {total} on what is no feature of a disease: {names}."


def _stack(rows: Iterable[ConceptRow]) -> tuple[tuple[ConceptRow, float], ...]:
    """Return the parts of the bar in per cent; a region with several findings is divided evenly among them."""
    deciding = [row for row in rows if row.entry.share > 0]
    times = Counter(label for row in deciding for label in row.entry.regions)
    parts = []
    for row in deciding:
        labels = row.entry.regions
        parts.append(row.entry.share * (sum(1 / times[label] for label in labels) / len(labels) if labels else 1.0))
    total = sum(parts)
    return tuple((row, 100 * part / total) for row, part in zip(deciding, parts, strict=True))


def _length(entries: Iterable[ConceptEntry], value: Callable[[ConceptEntry], float]) -> Callable[[ConceptEntry], float]:
    """Return how long an entry's bar is, as a share of the longest one; values below 0 have none."""
    longest = max((value(entry) for entry in entries), default=0.0)
    return lambda entry: max(0.0, value(entry) / longest) if longest > 0 else 0.0


def _pictures(
    entry: ConceptEntry, explanation: Explanation, window: tuple[float, float], examples: Examples
) -> tuple[ExamplePatch, ...]:
    given = examples.get(entry.term.key, ()) if entry.term else ()
    if given:
        return tuple(given[:PICTURES])
    original, labels = explanation.volumes.original, explanation.volumes.regions.array[0]
    masks = ((label, labels == label) for label in entry.regions[:PICTURES])
    return tuple(
        cut_patch(original, RegionMask(mask, original.geometry), f"Region {label}", window)
        for label, mask in masks
        if mask.any()
    )


def _letter(place: int) -> str:
    """Return A to Z, then AA, AB and so on."""
    more, letter = divmod(place, 26)
    return (_letter(more - 1) if more else "") + chr(ord("A") + letter)
