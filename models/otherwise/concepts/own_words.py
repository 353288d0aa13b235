"""The labels of one region: the words of every reader, and the name that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.vocabulary import Key, Term, Vocabulary
from otherwise.concepts.attributes import axis_of
from otherwise.concepts.naming import SAID, Name

UNSURE = 0.5
"""Confidence of a word whose reader was not sure."""


@dataclass(frozen=True)
class ReaderWords:
    """What one reader holds of one region.

    Attributes:
        author: Who.
        present: Terms that it shows, the newest first, and whether the reader was sure; on an axis whose terms
            exclude each other, the newest only.
        absent: Terms that it does not show.
        unknown: Terms of which the reader cannot tell.
        cannot_tell: The reader cannot tell what it shows at all.
    """

    author: str
    present: tuple[tuple[Term, bool], ...] = ()
    absent: frozenset[Term] = frozenset()
    unknown: frozenset[Term] = frozenset()
    cannot_tell: bool = False


@dataclass(frozen=True)
class OwnWords:
    """The labels of all readers for one region.

    Attributes:
        readers: Each with their words.
        names: What the region is called for that: the newest word first. Where readers differ, each word has the share
            of those who agree to it, and is marked as disputed.
        denied: Terms that somebody denies and nobody says; they are not predicted for this region whatever was learned.
        cannot_tell: Somebody cannot tell, and nobody says anything: the region has no name.
    """

    readers: tuple[ReaderWords, ...]
    names: tuple[Name, ...]
    denied: frozenset[Term]
    cannot_tell: bool

    @property
    def axes(self) -> frozenset[Key]:
        """Return the keys of the axes and terms with a label."""
        return frozenset(name.axis.key for name in self.names if name.axis is not None)


def own_words(notes: Sequence[Annotation], vocabulary: Vocabulary) -> OwnWords:
    """Sum up what was said of one region.

    Args:
        notes: Of the kinds ``name``, ``not-this`` and ``cannot-tell``, the oldest first.
        vocabulary: Says which terms exclude each other, and what is a kind of what.
    """
    authors = dict.fromkeys(note.author for note in reversed(notes))
    readers = [_of_reader([note for note in notes if note.author == author], vocabulary) for author in authors]
    newest: dict[Term, None] = {}
    for note in reversed(notes):
        if note.kind == "name" and note.term is not None:
            newest[note.term] = None
    terms = [term for term in newest if any(term == mine for reader in readers for mine, _ in reader.present)]
    names = tuple(_name(term, readers, vocabulary) for term in terms)
    denied = {term for reader in readers for term in reader.absent} - set(terms)
    return OwnWords(
        tuple(readers), names, frozenset(denied), not terms and any(reader.cannot_tell for reader in readers)
    )


def _of_reader(notes: Sequence[Annotation], vocabulary: Vocabulary) -> ReaderWords:
    """Return what still holds: a later word takes the place of an earlier one that it contradicts."""
    present: dict[Term, bool] = {}
    absent, unknown, cannot_tell = set[Term](), set[Term](), False
    for note in notes:
        term = note.term
        if term is None:
            cannot_tell = note.kind == "cannot-tell"
            present, absent, unknown = {}, set(), set()
            continue
        for group in (absent, unknown):
            group.discard(term)
        present.pop(term, None)
        if note.kind == "not-this":
            present = {mine: sure for mine, sure in present.items() if not vocabulary.is_a(mine, term)}
            absent.add(term)
        elif note.kind == "cannot-tell":
            unknown.add(term)
        else:
            cannot_tell = False
            present = {mine: sure for mine, sure in present.items() if not _exclude(mine, term, vocabulary)}
            present[term] = note.certain
            absent = {other for other in absent if not vocabulary.is_a(term, other)}
    author = notes[0].author if notes else ""
    return ReaderWords(author, tuple(reversed(present.items())), frozenset(absent), frozenset(unknown), cannot_tell)


def _name(term: Term, readers: Sequence[ReaderWords], vocabulary: Vocabulary) -> Name:
    """Return a term with the share of the readers who agree, of those who said something of it."""
    agree, speak = 0.0, 0
    for reader in readers:
        words = dict(reader.present)
        alike = [sure for mine, sure in words.items() if _alike(mine, term, vocabulary)]
        against = term in reader.absent or any(_exclude(mine, term, vocabulary) for mine in words)
        if alike:
            agree, speak = agree + (1.0 if any(alike) else UNSURE), speak + 1
        elif against:
            speak += 1
    disputed = speak > sum(any(_alike(mine, term, vocabulary) for mine, _ in reader.present) for reader in readers)
    return Name(term, agree / max(speak, 1), SAID, disputed, axis_of(term, vocabulary))


def _exclude(one: Term, other: Term, vocabulary: Vocabulary) -> bool:
    """Return whether two terms are different values of one property."""
    return axis_of(one, vocabulary) == axis_of(other, vocabulary) and not _alike(one, other, vocabulary)


def _alike(one: Term, other: Term, vocabulary: Vocabulary) -> bool:
    return vocabulary.is_a(one, other) or vocabulary.is_a(other, one)
