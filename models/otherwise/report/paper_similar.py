"""Similar cases on a sheet of paper."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from otherwise.report.paper import A4, LEFT, MUTED, caption_lines, draw_patch, line_height, write_lines
from otherwise.report.similar import Similar, SimilarCase

_SIDE, _GAP, _LABEL = 0.1, 0.12, 0.12
"""Width of a picture, between pictures, and of what stands before them, as shares of the page's."""
_SMALL = 6.5
"""Size of letters below a picture."""
CASES = 3
"""Most cases of a region."""


def height_of_similar(similar: Similar) -> float:
    """Return the height of :func:`write_similar`, as a share of the page's."""
    return 0.06 + sum(map(_height, similar.values())) if similar else 0.0


def write_similar(page: Figure, top: float, similar: Similar) -> float:
    """Draw the cases of each region side by side, and return where they end."""
    if not similar:
        return top
    top = write_lines(page, top - 0.02, "Similar cases", 13, weight="bold")
    text = "Decisive regions of other images that look most like those of this one: intensity, size, edge and shape."
    top = write_lines(page, top - 0.002, text, 8, MUTED) - 0.006
    for label, cases in similar.items():
        page.text(LEFT, top - 0.002, f"Region {label}", fontsize=9, fontweight="bold", va="top")
        for place, case in enumerate(cases[:CASES]):
            left = LEFT + _LABEL + place * (_SIDE + _GAP)
            draw_patch(page, left, top, _SIDE, case.patch, "", _SMALL)
            lines = "\n".join(_lines(case))
            below = top - _SIDE * A4[0] / A4[1] - 0.002
            page.text(left, below, lines, fontsize=_SMALL, color=MUTED, va="top", parse_math=False)
        top -= _height(cases)
    return top


def _lines(case: SimilarCase) -> list[str]:
    """Return names, and the image below them; there is room to the next picture."""
    width = _SIDE + _GAP - 0.01
    return caption_lines(case.caption, width, _SMALL) + caption_lines(case.patch.title, width, _SMALL)


def _height(cases: Sequence[SimilarCase]) -> float:
    lines = max((len(_lines(case)) for case in cases[:CASES]), default=0)
    return _SIDE * A4[0] / A4[1] + lines * line_height(_SMALL) + 0.014
