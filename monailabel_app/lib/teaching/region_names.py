"""Put the newest names into explanations, whenever they were made."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.naming import Name
from otherwise.concepts.snapshot import ConceptSnapshot
from otherwise.explain.explanation import Concepts, Explanation


@dataclass(frozen=True)
class RegionNames:
    """What the regions of one explanation are called.

    Attributes:
        regions: ``Region.findings`` by label, the first is ``Region.concept``; none: no name.
        concepts: The summary.
    """

    regions: dict[int, tuple[dict[str, object], ...]]
    concepts: Concepts

    @property
    def digest(self) -> str:
        """Of everything that a report says of them."""
        return hashlib.sha256(repr((self.regions, self.concepts)).encode()).hexdigest()[:16]

    def put_into(self, explanation: Explanation) -> Explanation:
        """Return the explanation with these names."""
        regions = tuple(
            replace(region, concept=self._first(region.label), findings=self.regions.get(region.label, ()))
            for region in explanation.regions
        )
        return replace(explanation, regions=regions, concepts=self.concepts)

    def put_into_json(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the content of an ``explanation.json`` with these names."""
        regions = [
            {
                **region,
                "concept": self._first(region["label"]),
                "findings": list(self.regions.get(region["label"], ())),
            }
            for region in content["regions"]
        ]
        return {**content, "regions": regions, "concepts": asdict(self.concepts)}

    def _first(self, label: int) -> dict[str, object] | None:
        first = next(iter(self.regions.get(label, ())), None)
        return first and {key: first[key] for key in ("name", "scheme", "code", "confidence")}


def region_names_of(taught: ConceptSnapshot, entry: FeatureEntry) -> RegionNames:
    """Return the present names of an explanation's regions.

    Args:
        taught: What is known.
        entry: Features of the explanation.
    """
    found = taught.findings(entry.source, entry.features)
    regions = {
        label: tuple(map(_finding, names)) for label, names in zip(entry.features.labels.tolist(), found, strict=True)
    }
    return RegionNames(regions, taught.concepts(entry.source, entry.features))


def _finding(name: Name) -> dict[str, object]:
    term = name.term
    return {
        "name": term.meaning,
        "scheme": term.scheme,
        "code": term.code,
        "confidence": round(name.confidence, 4),
        "evidence": name.evidence,
        "disputed": name.disputed,
    }
