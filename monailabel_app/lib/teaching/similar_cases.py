"""Similar cases for a report: the nearest regions of other images, as pictures with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.storage.owners import Caller
from lib.teaching.activation_cache import NotYetError
from lib.teaching.search import similar_regions
from lib.teaching.service import TeachingService
from otherwise.annotations.region import RegionMask
from otherwise.errors import OtherwiseError
from otherwise.explain.explanation import Explanation

if TYPE_CHECKING:
    from otherwise.report.similar import SimilarCase

REGIONS, CASES = 2, 3
"""Regions of a report, the strongest ones, and cases of each."""


def similar_cases(teaching: TeachingService, explanation: Explanation, caller: Caller) -> dict[int, list[SimilarCase]]:
    """Return the nearest labelled regions of other images, by label.

    Args:
        teaching: What has been taught.
        explanation: Its strongest regions are compared.
        caller: Who asks; other people's private images are left out.
    """
    found = {}
    for region in explanation.regions[:REGIONS]:
        try:
            alike = similar_regions(teaching, explanation.id, region.label, CASES, caller)
        except (NotYetError, OtherwiseError):
            continue
        cases = [case for each in alike if (case := _case(teaching, each)) is not None]
        if cases:
            found[region.label] = cases
    return found


def _case(teaching: TeachingService, region: dict) -> SimilarCase | None:
    """Return the picture of a region; None where its explanation has just been removed."""
    from otherwise.report.examples import cut_patch  # loads matplotlib: not while the server starts
    from otherwise.report.similar import SimilarCase

    try:
        other = teaching.explanation(region["explanation"])
    except OtherwiseError:
        return None
    volume = other.volumes.regions
    mask = RegionMask(volume.array[0] == region["label"], volume.geometry)
    window = teaching.host.classifier.inputs.intensity
    patch = cut_patch(other.volumes.original, mask, f"{other.image_id}, region {region['label']}", window)
    names = tuple(finding["term"]["meaning"] for finding in region["findings"])
    return SimilarCase(patch, names, f"../{other.id}/report.html")
