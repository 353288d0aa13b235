"""How far teaching has come, as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from typing import Any

from lib.storage.owners import Caller
from lib.teaching.service import TeachingService
from otherwise.annotations.vocabulary import Key, Term
from otherwise.concepts.annotated_regions import reader_agreement
from otherwise.concepts.questions import STRATEGIES
from otherwise.concepts.snapshot import ConceptSnapshot


def describe(teaching: TeachingService, caller: Caller) -> dict[str, Any]:
    """Return what has been taught: see docs/reference/replies.md.

    Args:
        teaching: What has been taught.
        caller: Words on other people's private images are left out.
    """
    taught, versions = teaching.taught, teaching.versions
    state = "learning" if teaching.doing else "ready" if taught else "waiting"
    return {
        "state": state,
        "detail": teaching.doing or _waiting_for(teaching) or " ".join(warnings(teaching)),
        "version": taught.version if taught else None,
        "active": versions.chosen is None,
        "held": versions.reason,
        "labels": taught.labels if taught else 0,
        "named_share": round(taught.named_share(), 4) if taught else 0.0,
        "explained": teaching.explained(),
        "images": teaching.activations.table.images if teaching.activations.table else 0,
        "concepts": concepts_in_use(taught) if taught else [],
        "shortcuts": shortcuts(taught) if taught else [],
        "doubtful": doubtful(teaching, caller) if taught else [],
        "agreement": readers_agreement(teaching, caller),
        "warnings": warnings(teaching),
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
    """Return each term with its decisive regions, its units, its labels and its share of all decisive change."""
    findings, shares = taught.region_findings, taught.pool.shares
    named = [name.term for names in findings for name in names]
    used = [*(e.term for e in taught.examples), *named, *(n.term for n in taught.units.values())]
    regions = Counter(term.key for term in named)
    units = Counter(name.term.key for name in taught.units.values())
    labels = Counter(example.term.key for example in taught.examples)
    share = defaultdict[Key, float](float)
    for names, weight in zip(findings, shares.tolist(), strict=True):
        for name in names:
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


def doubtful(teaching: TeachingService, caller: Caller) -> list[dict[str, Any]]:
    """Return the labels that the others do not believe, the least likely first: to be looked at again."""
    return [
        {
            "annotation": word.annotation.id,
            "author": word.annotation.author,
            "image": word.annotation.image,
            "explanation": word.annotation.explanation,
            "label": word.key[1] if word.key else None,
            "term": asdict(word.annotation.term) if word.annotation.term else None,
            "probability": round(word.probability, 4),
        }
        for word in (teaching.taught.doubtful if teaching.taught else ())
        if caller.sees(teaching.owner_of(word.annotation))
    ]


def readers_agreement(teaching: TeachingService, caller: Caller) -> list[dict[str, Any]]:
    """Return Cohen's kappa for each term of each two readers who named the same regions that the caller may see."""
    annotated = teaching.taught.annotated if teaching.taught else ()
    seen = [region for region in annotated if all(caller.sees(teaching.owner_of(note)) for note in region.notes)]
    return [
        {
            "readers": [one, other],
            "regions": regions,
            "terms": [{"term": asdict(term), "kappa": round(value, 3)} for term, value in kappa.items()],
        }
        for one, other, regions, kappa in reader_agreement(seen)
    ]


def warnings(teaching: TeachingService) -> list[str]:
    """Return sentences about what should be looked at before names are relied upon."""
    taught = teaching.taught
    found = [teaching.versions.warning()]
    if taught is not None and taught.doubtful:
        count = len(taught.doubtful)
        what = "1 label does" if count == 1 else f"{count} labels do"
        found.append(f"{what} not fit the others; look at {'it' if count == 1 else 'them'} again.")
    if taught is not None and taught.incoherent:
        found.append(
            "The labels do not depend on what the regions look like, as if they had been shuffled: "
            "names of other regions are no better than chance."
        )
    return [sentence for sentence in found if sentence]


def shortcuts(taught: ConceptSnapshot) -> list[dict[str, Any]]:
    """Spurious things that decide: suspected shortcuts of the classifier, with the images that they affect."""
    images: dict[Key, tuple[Term, set[str]]] = {}
    every = {region.image for region in taught.pool.regions}
    for names, region in zip(taught.region_findings, taught.pool.regions, strict=True):
        for name in names:
            if taught.model.vocabulary.spurious(name.term):
                images.setdefault(name.term.key, (name.term, set()))[1].add(region.image)
    found = [
        {"term": asdict(term), "images": len(affected), "share_of_images": round(len(affected) / len(every), 4)}
        for term, affected in images.values()
    ]
    return sorted(found, key=lambda shortcut: -shortcut["images"])
