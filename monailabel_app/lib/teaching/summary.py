"""How far teaching has come, as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Any

from lib.teaching.service import TeachingService
from otherwise.annotations.vocabulary import Key, Term
from otherwise.concepts.questions import STRATEGIES
from otherwise.concepts.snapshot import ConceptSnapshot


def describe(teaching: TeachingService) -> dict[str, Any]:
    """What has been taught: see docs/adr/0005."""
    taught, versions = teaching.taught, teaching.versions
    state = "learning" if teaching.doing else "ready" if taught else "waiting"
    return {
        "state": state,
        "detail": teaching.doing or _waiting_for(teaching),
        "version": taught.version if taught else None,
        "active": versions.chosen is None,
        "held": versions.reason,
        "labels": taught.labels if taught else 0,
        "named_share": round(taught.named_share(), 4) if taught else 0.0,
        "explained": teaching.explained(),
        "images": teaching.activations.table.images if teaching.activations.table else 0,
        "concepts": concepts_in_use(taught) if taught else [],
        "shortcuts": shortcuts(taught) if taught else [],
        "strategies": [{"name": name, "title": title} for name, (_, title) in STRATEGIES.items()],
        "versions": [asdict(version) for version in versions.all()],
    }


def _waiting_for(teaching: TeachingService) -> str:
    if teaching.activations.reader is None:
        return "The agent of this server has no units."
    if teaching.activations.table is None:
        return "There is no image to look at yet."
    return "" if teaching.taught else "Nothing has been learned yet."


def concepts_in_use(taught: ConceptSnapshot) -> list[dict[str, Any]]:
    """Each term with its decisive regions, its units, its labels and its share of all decisive change."""
    names, shares = taught.region_names, taught.pool.shares
    used = [*(e.term for e in taught.examples), *(n.term for n in names if n), *(n.term for n in taught.units.values())]
    regions = Counter(name.term.key for name in names if name)
    units = Counter(name.term.key for name in taught.units.values())
    labels = Counter(example.term.key for example in taught.examples)
    share = defaultdict[Key, float](float)
    for name, weight in zip(names, shares.tolist(), strict=True):
        if name:
            share[name.term.key] += weight
    total = float(shares.sum()) or 1.0
    found = [
        {
            "term": asdict(term),
            "regions": regions[key],
            "units": units[key],
            "labels": labels[key],
            "share": round(share[key] / total, 4),
        }
        for key, term in {term.key: term for term in used}.items()
    ]
    return sorted(found, key=lambda concept: -concept["share"])


def shortcuts(taught: ConceptSnapshot) -> list[dict[str, Any]]:
    """Spurious things that decide: suspected shortcuts of the classifier, with the images that they affect."""
    images: dict[Key, tuple[Term, set[str]]] = {}
    every = {region.image for region in taught.pool.regions}
    for name, region in zip(taught.region_names, taught.pool.regions, strict=True):
        if name and taught.model.vocabulary.spurious(name.term):
            images.setdefault(name.term.key, (name.term, set()))[1].add(region.image)
    found = [
        {"term": asdict(term), "images": len(affected), "share_of_images": round(len(affected) / len(every), 4)}
        for term, affected in images.values()
    ]
    return sorted(found, key=lambda shortcut: -shortcut["images"])
