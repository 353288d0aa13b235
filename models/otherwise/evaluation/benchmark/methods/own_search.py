"""Our search: its counterfactual with the measured effect, and the minimal part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.search import Search
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.sensitivity import StudentSensitivity
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.evaluation.benchmark.methods.editing import is_valid
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, ReferenceImages
from otherwise.evaluation.costs import timed
from otherwise.influence.along_path import effect_along_path
from otherwise.influence.effect import measure_effect, shown_effect
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.parts import composite, soft
from otherwise.influence.regions import MeasuredRegion, measure_regions, reconstruction_floor

CHANGE, REGIONS = "ours-change", "ours-regions"
USUAL = SearchSettings(alternatives=0)
"""As users get it, without further answers."""


@dataclass(frozen=True, eq=False)
class SearchedEdit:
    """What a search found, and what its change does.

    Attributes:
        result: Of the search.
        effect: ``size``: the measured effect of the change of ``result.best``, which regions are made of.
        located: ``size``: the same, where the student says that the change counts; see ``EffectMap``.
        along_path: ``size``: the same along the path to it, see ``influence.along_path``.
    """

    result: SearchResult
    effect: np.ndarray
    located: np.ndarray
    along_path: np.ndarray


def search_with_effect(
    agent: Agent,
    classifier: CountingBlackBox,
    image: np.ndarray,
    settings: SearchSettings = USUAL,
    follow: bool = True,
    sensitive: bool = True,
) -> SearchedEdit:
    """Search, and measure the effect of the change.

    Args:
        agent: Draws.
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        settings: How hard to search.
        follow: See ``measure_effect``.
        sensitive: Whether the student says where within a window the change counts.
    """
    result = Search(agent, classifier, settings).run(image)
    sensitivity = StudentSensitivity(agent, result.target, classifier.multi_label) if sensitive else None
    effect = measure_effect(classifier, image, result.best.image, result.target, follow=follow, sensitivity=sensitivity)
    lesser = result.nearest_to_boundary(result.best, classifier.multi_label)
    if lesser is None:
        return SearchedEdit(result, effect.values, effect.located, effect.located)
    along_path = effect_along_path(classifier, image, effect, lesser.image, result.target, sensitivity=sensitivity)
    return SearchedEdit(result, effect.values, effect.located, along_path)


def search_with_regions(
    agent: Agent, classifier: CountingBlackBox, image: np.ndarray
) -> tuple[SearchResult, list[MeasuredRegion]]:
    """Search, and measure the regions that decide, the strongest first."""
    result = Search(agent, classifier, USUAL).run(image)
    effect = measure_effect(classifier, image, result.best.image, result.target).values
    floor = reconstruction_floor(image, result.reconstruction)
    return result, measure_regions(classifier, image, result.best.image, effect, floor, result.target)


@dataclass(frozen=True, eq=False)
class _Searched:
    """One search, and what it cost."""

    edit: SearchedEdit
    seconds: float
    queries: int


class SharedSearch:
    """The search of an image and the measured effect of its change, made once for all methods that begin with them.

    Only the last image's is kept. Each method's row shows the costs as if it had searched alone.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str, bytes] | None = None
        self._last: _Searched | None = None

    def ours(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Search, and show the measured effect of the change and the regions that decide."""
        found, again = self._search(agent, classifier, image)
        result, effect = found.edit.result, found.edit.effect
        made = result.best.image
        floor = reconstruction_floor(image, result.reconstruction)
        decisive = np.zeros(effect.shape, np.float32)
        for region in measure_regions(classifier, image, made, effect, floor, result.target):
            decisive[region.mask] = region.effect
        maps = {CHANGE: np.abs(made - image).max(axis=0), REGIONS: decisive}
        return _with_costs(
            Edit(made, result.target, result.valid, shown_effect(found.edit.along_path), maps), found, again
        )

    def minimal(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Return the smallest part of our change that still flips the black box."""
        found, again = self._search(agent, classifier, image)
        result, made = found.edit.result, found.edit.result.best.image
        if not result.valid:
            return _with_costs(Edit(made, result.target, False), found, again)
        least = composite(image, made, soft(minimal_mask(classifier, image, made, found.edit.effect, result.target)))
        return _with_costs(Edit(least, result.target, is_valid(classifier, least, result.target)), found, again)

    def _search(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> tuple[_Searched, bool]:
        """Return the search, and whether it was made before."""
        key = (agent.version, classifier.version, np.ascontiguousarray(image).tobytes())
        if self._last is not None and self._key == key:
            return self._last, True
        before = classifier.queries
        edit, seconds = timed(lambda: search_with_effect(agent, classifier, image))
        self._key, self._last = key, _Searched(edit, seconds, classifier.queries - before)
        return self._last, False


def _with_costs(edit: Edit, found: _Searched, again: bool) -> Edit:
    """Add the costs of a search that was made before."""
    return replace(edit, shared_seconds=found.seconds, shared_queries=found.queries) if again else edit


def own_methods(references: ReferenceImages) -> tuple[EditMethod, ...]:
    """Return our counterfactual and its minimal part, which share one search for each image."""
    search = SharedSearch()
    maps = {CHANGE: "Ours (map: raw change)", REGIONS: "Ours (map: decisive regions)"}
    return (
        EditMethod("ours", "Ours (map: measured effect)", "this project", search.ours, maps),
        EditMethod("ours-minimal", "Ours, minimal part", "this project", search.minimal),
    )
