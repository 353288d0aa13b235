"""A warning about an answer, which a reader must know before believing it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AnswerWarning:
    """One reason to doubt an answer or an explanation.

    Every room that finds such a reason appends one of these; ``explanation.json``, the report and the panel in Slicer
    show them all.

    Attributes:
        code: Kind of the warning for machines, kebab-case, such as ``clipped`` or ``spacing-assumed``.
        text: One sentence for people, with the numbers.
    """

    code: str
    text: str
