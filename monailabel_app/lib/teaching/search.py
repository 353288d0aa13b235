"""Find regions by a term that they show or by their likeness to another one, and list all findings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from lib.settings.params import ParamsError
from lib.storage.explanation_store import NotFoundError
from lib.storage.owners import Caller
from lib.teaching.activation_cache import NotYetError
from lib.teaching.service import TeachingService
from otherwise.annotations.vocabulary import Term
from otherwise.concepts.naming import Name
from otherwise.concepts.snapshot import ConceptSnapshot
from otherwise.errors import OtherwiseError
from otherwise.report.findings_table import as_csv, finding_rows


def regions_of_term(
    teaching: TeachingService, scheme: str, code: str, words: str, count: int, caller: Caller
) -> dict[str, Any]:
    """Return the decisive regions that show a term or a kind of it, the surest first.

    Args:
        teaching: What has been taught.
        scheme, code: Of the term; or else
        words: Its meaning or a part of it, whatever the case.
        count: Most regions.
        caller: Regions of other people's private images are left out.

    Raises:
        OtherwiseError: if nothing has been learned yet, or no term is meant.
    """
    taught = _taught(teaching)
    terms = _meant(teaching, taught, scheme, code, words)
    vocabulary = teaching.vocabulary
    found = []
    for place, names in enumerate(taught.region_findings):
        name = next((n for n in names if any(vocabulary.is_a(n.term, term) for term in terms)), None)
        if name is not None and _visible(teaching, taught, place, caller):
            found.append((place, name))
    found.sort(key=lambda each: (-each[1].confidence, -float(taught.pool.shares[each[0]])))
    return {
        "terms": [asdict(term) for term in terms],
        "total": len(found),
        "regions": [_region(taught, place, [name]) for place, name in found[:count]],
    }


def similar_regions(
    teaching: TeachingService, explanation: str, label: int, count: int, caller: Caller
) -> list[dict[str, Any]]:
    """Return the regions of other images that are most alike, the nearest first, with their names.

    Raises:
        OtherwiseError: if nothing has been learned yet, or there is no such region.
    """
    taught = _taught(teaching)
    pool = taught.pool
    place = next(
        (n for n, region in enumerate(pool.regions) if (region.explanation, region.label) == (explanation, label)), None
    )
    if place is None or not _visible(teaching, taught, place, caller):
        raise NotFoundError("There is no such decisive region, or it has not been read yet.", "Its JSON lists them.")
    distances = _distances(taught, place)
    order = np.argsort(distances, kind="stable")
    others = [
        int(n)
        for n in order
        if pool.regions[n].image != pool.regions[place].image and _visible(teaching, taught, int(n), caller)
    ]
    findings = taught.region_findings
    return [
        {**_region(taught, n, findings[n]), "distance": round(float(distances[n]), 4)}
        for n in others[:count]
        if np.isfinite(distances[n])
    ]


def findings_table(teaching: TeachingService, caller: Caller) -> str:
    """Return all findings of all images that the caller may see, by the newest names, as CSV."""
    rows = []
    for id in teaching.host.store.ids():
        if not caller.sees(teaching.host.owners.get(id)):
            continue
        try:
            content = teaching.host.store.content(id)
        except (OtherwiseError, OSError):
            continue  # it has just been removed, or is damaged
        names = teaching.names(id)
        rows += finding_rows(names.put_into_json(content) if names else content)
    return as_csv(rows)


def _distances(taught: ConceptSnapshot, place: int) -> np.ndarray:
    """Return the distance of all regions to one: by what they look like in their own unit, or else to the units."""
    rows = taught.pool.descriptions
    if rows.size and np.isfinite(rows[place]).all():
        deviation = np.nanstd(rows, axis=0) + 1e-6
        found = np.sqrt(np.square(np.clip((rows - rows[place]) / deviation, -4, 4)).mean(1))
        return np.asarray(np.where(np.isfinite(found), found, np.inf))
    places = taught.model.space.place(taught.pool.embeddings)
    return np.asarray(np.sqrt(np.square(places - places[place]).mean(1)))


def _taught(teaching: TeachingService) -> ConceptSnapshot:
    if teaching.taught is None:
        raise NotYetError("Nothing has been learned yet.", "Explain an image, and ask again in a minute.")
    return teaching.taught


def _meant(teaching: TeachingService, taught: ConceptSnapshot, scheme: str, code: str, words: str) -> list[Term]:
    used = {example.term.key: example.term for example in taught.examples}
    known = {**used, **teaching.vocabulary.terms}
    if scheme or code:
        if (scheme, code) not in known:
            raise ParamsError(f"No term {scheme}:{code} is known."[:120], "GET /otherwise/vocabulary lists terms.")
        return [known[scheme, code]]
    asked = " ".join(words.casefold().split())
    if not asked:
        raise ParamsError("No term is given.", "Send scheme and code, or words.")
    exact = [term for term in known.values() if term.meaning.casefold() == asked]
    found = exact or [term for term in known.values() if asked in term.meaning.casefold()]
    if not found:
        raise ParamsError(f"No term is called {words[:64]!r}.", "GET /otherwise/vocabulary lists terms.")
    return found


def _visible(teaching: TeachingService, taught: ConceptSnapshot, place: int, caller: Caller) -> bool:
    return caller.sees(teaching.host.owners.get(taught.pool.regions[place].explanation))


def _region(taught: ConceptSnapshot, place: int, names: list[Name] | tuple[Name, ...]) -> dict[str, Any]:
    region = taught.pool.regions[place]
    return {
        "image": region.image,
        "explanation": region.explanation,
        "label": region.label,
        "share": round(float(taught.pool.shares[place]), 4),
        "findings": [
            {"term": asdict(name.term), "confidence": round(name.confidence, 4), "evidence": name.evidence}
            for name in names
        ],
    }
