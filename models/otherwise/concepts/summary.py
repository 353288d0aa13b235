"""What an explanation shows, concept by concept: how many units, how strong, how large, and what it weighs.

The first three are Lu & Perer's report (arXiv 2210.08979); what they lack is the last: what the concept does to the
decision, which the black box itself was asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.annotations.vocabulary import Key, Term, Vocabulary
from otherwise.concepts.naming import Name
from otherwise.concepts.questions import named_share
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.statistics import UnitTable
from otherwise.explain.explanation import ConceptEntry, Concepts


@dataclass(frozen=True)
class Vote:
    """A label of a region to which a unit responded.

    Attributes:
        author: Who.
        term: What they called it.
        overlap: Of the unit's mask with the region, in [0, 1].
        certain: Whether they were sure.
        annotation: Id of the annotation.
    """

    author: str
    term: Term
    overlap: float
    certain: bool
    annotation: str


@dataclass(frozen=True)
class UnitName:
    """What a unit is called.

    Attributes:
        term: Of the vote with the greatest overlap; sure ones before unsure ones.
        overlap: Of that vote.
        votes: All, the best first.
        disputed: Different people gave it names of which none is a kind of the other.
    """

    term: Term
    overlap: float
    votes: tuple[Vote, ...]
    disputed: bool


def unit_names(votes: Mapping[str, Sequence[Vote]], vocabulary: Vocabulary) -> dict[str, UnitName]:
    """Decide what each unit is called: a better overlap wins over a worse one, a later vote over an equal one.

    Args:
        votes: By unit, in the order they were given.
        vocabulary: What is a kind of what.
    """
    found = {}
    for unit, given in votes.items():
        ranked = sorted(reversed(given), key=lambda vote: (not vote.certain, -vote.overlap))
        if ranked:
            disputed = any(
                one.author != other.author and not _agree(one.term, other.term, vocabulary)
                for number, one in enumerate(ranked)
                for other in ranked[number + 1 :]
            )
            found[unit] = UnitName(ranked[0].term, ranked[0].overlap, tuple(ranked), disputed)
    return found


def summarise(
    features: RegionFeatures,
    findings: Sequence[Sequence[Name]],
    table: UnitTable,
    units: Mapping[str, UnitName],
    version: str,
) -> Concepts:
    """Sum an explanation up by concepts.

    Args:
        features: Of the explanation's regions.
        findings: Of each region; a region with several counts for each of them.
        table: Of the units, in whose order the facts are.
        units: What units are called, by name of the unit.
        version: Of the names.
    """
    # One image has no deviation.
    height = (features.peaks - table.mean) / table.deviation if table.images > 1 else 0 * features.peaks
    unit_terms = [units[name].term if name in units else None for name in table.names]
    region_terms: list[list[Term | None]] = [[name.term for name in names] or [None] for names in findings]
    used = [term for terms in region_terms for term in terms]
    entries = []
    for term in {key_of(term): term for term in (*used, *unit_terms, None)}.values():
        mine = np.array([_same(term, other) for other in unit_terms], bool)
        shown = np.array([any(_same(term, other) for other in terms) for terms in region_terms], bool)
        entries.append(
            ConceptEntry(
                term=term,
                units=int(mine.sum()),
                activation=float(height[mine].mean()) if mine.any() else 0.0,
                area=float(features.together[mine].mean()) if mine.any() else 0.0,
                regions=tuple(int(label) for label in features.labels[shown]),
                effect=float(features.effects[shown].sum()),
                share=float(features.shares[shown].sum()),
            )
        )
    entries.sort(key=lambda entry: (entry.term is None, -entry.effect, -entry.units))
    first = [names[0] if names else None for names in findings]
    return Concepts(version, named_share(first, features.shares), tuple(entries), float(features.inside))


def key_of(term: Term | None) -> Key | None:
    """Return what identifies a term, or its absence."""
    return term.key if term else None


def _same(one: Term | None, other: Term | None) -> bool:
    return key_of(one) == key_of(other)


def _agree(one: Term, other: Term, vocabulary: Vocabulary) -> bool:
    return vocabulary.is_a(one, other) or vocabulary.is_a(other, one)
