"""How far teaching has come, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lib.teaching.saying import term_json
from lib.teaching.teaching import Teaching
from otherwise.annotations.vocabulary import Key, Term, Vocabulary
from otherwise.concepts.naming import Name
from otherwise.concepts.questions import STRATEGIES, named_share
from otherwise.concepts.teaching import Taught


def describe(teaching: Teaching) -> dict[str, Any]:
    """What has been taught: see docs/adr/0005."""
    taught, versions = teaching.taught, teaching.versions
    names = taught.region_names() if taught else []
    state = "learning" if teaching.doing else "ready" if taught else "waiting"
    return {
        "state": state,
        "detail": teaching.doing or _waiting_for(teaching),
        "version": taught.version if taught else None,
        "active": versions.chosen is None,
        "held": versions.reason,
        "labels": taught.labels if taught else 0,
        "named_share": round(named_share(names, taught.pool.shares), 4) if taught else 0.0,
        "explained": teaching.explained(),
        "images": teaching.seeing.table.images if teaching.seeing.table else 0,
        "concepts": concepts_in_use(taught, names) if taught else [],
        "shortcuts": shortcuts(taught, names, teaching.vocabulary) if taught else [],
        "strategies": [{"name": name, "title": title} for name, (_, title) in STRATEGIES.items()],
        "versions": [asdict(version) for version in versions.all()],
    }


def _waiting_for(teaching: Teaching) -> str:
    if teaching.seeing.reader is None:
        return "The agent of this server has no units."
    if teaching.seeing.table is None:
        return "There is no image to look at yet."
    return "" if teaching.taught else "Nothing has been learned yet."


def concepts_in_use(taught: Taught, names: Sequence[Name | None]) -> list[dict[str, Any]]:
    """Each term with its decisive regions, its units, its labels and its share of all decisive change."""
    regions = list(zip(names, taught.pool.shares, strict=True))
    total = float(taught.pool.shares.sum()) or 1.0
    labels = [example.term for example in taught.examples]
    terms: dict[Key, Term] = {term.key: term for term in labels}
    terms |= {name.term.key: name.term for name, _ in regions if name}
    terms |= {name.term.key: name.term for name in taught.units.values()}
    found = [
        {
            "term": term_json(term),
            "regions": sum(name is not None and name.term.key == key for name, _ in regions),
            "units": sum(name.term.key == key for name in taught.units.values()),
            "labels": sum(label.key == key for label in labels),
            "share": round(sum(float(s) for name, s in regions if name and name.term.key == key) / total, 4),
        }
        for key, term in terms.items()
    ]
    return sorted(found, key=lambda concept: -concept["share"])


def shortcuts(taught: Taught, names: Sequence[Name | None], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Spurious things that decide: suspected shortcuts of the classifier, with the images that they affect."""
    images: dict[Key, tuple[Term, set[str]]] = {}
    every = {region.image for region in taught.pool.regions}
    for name, region in zip(names, taught.pool.regions, strict=True):
        if name and vocabulary.spurious(name.term):
            images.setdefault(name.term.key, (name.term, set()))[1].add(region.image)
    found = [
        {"term": term_json(term), "images": len(affected), "share_of_images": round(len(affected) / len(every), 4)}
        for term, affected in images.values()
    ]
    return sorted(found, key=lambda shortcut: -shortcut["images"])
