"""Names of the kinds of phantoms of whole size; apart, so that the command line starts quickly."""

from __future__ import annotations

from enum import StrEnum


class WholeKind(StrEnum):
    """What to draw."""

    mammogram = "whole-mammogram"
    ct = "whole-ct"
