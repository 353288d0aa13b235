"""The registry of kinds of jobs. A new kind is a ``HostedTask`` in a file of its own, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lib.infers.attribute import Attribute
from lib.infers.classify import Classify
from lib.infers.explain import Explain
from lib.infers.find import FindTask, PatchScoreCache
from lib.infers.task import HostedTask
from lib.runtime.host import Host
from otherwise.explain.explanation import Explanation


@dataclass(frozen=True)
class TaskParts:
    """The parts that tasks need.

    Attributes:
        host: Models, worker and stores.
        scores: Scores of patches; None: the classifier looks at whole images.
        with_names: Puts the newest names into an explanation.
        on_saved: Called when an explanation has been saved.
    """

    host: Host
    scores: PatchScoreCache | None
    with_names: Callable[[Explanation], Explanation]
    on_saved: Callable[[], None]


KINDS: Mapping[str, Callable[[TaskParts], HostedTask | None]] = {
    "classify": lambda parts: Classify(parts.host, parts.scores),
    "explain": lambda parts: Explain(parts.host, parts.scores, parts.with_names, parts.on_saved),
    "find": lambda parts: FindTask(parts.host, parts.scores) if parts.scores else None,
    "attribute": lambda parts: Attribute(parts.host),
}
"""Makers of tasks by kind; None: the hosted classifier has no such task."""


def make_tasks(parts: TaskParts) -> dict[str, HostedTask]:
    """Make the tasks that the hosted models allow."""
    made = {kind: make(parts) for kind, make in KINDS.items()}
    return {kind: task for kind, task in made.items() if task is not None}
