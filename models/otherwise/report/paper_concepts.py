"""The concepts of an explanation on a sheet of paper."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from otherwise.report import words
from otherwise.report.colours import FIRST_ANSWER, TARGET
from otherwise.report.concepts import PICTURES, ConceptPart, ConceptRow
from otherwise.report.paper import (
    A4,
    ALARM,
    BOTTOM,
    LEFT,
    MUTED,
    TOP,
    WIDTH,
    caption_lines,
    draw_patch,
    letters_across,
    line_height,
    write_lines,
)

_ROW = 0.051
"""Least height of a row, as a share of the page's. Concepts that find no place are left out; that is said."""
_CAPTION = 5
"""Size of letters below a picture."""
_NOTE = 0.09
"""Height of what stands below the rows."""
_PICTURE = 0.05
"""Width of a picture, as a share of the page's; it is a square."""
_NAMES = 0.235
_EFFECT, _UNITS, _ACTIVATION, _AREA, _REGIONS = 0.505, 0.64, 0.705, 0.775, 0.865
"""Where columns begin, as shares of the page's width."""
_TRACK, _PLAIN, _HATCH = "#e3e8ee", "#8a8f98", "#7d8794"
_LETTER = "#17202b"
"""On a colour of a concept."""


def write_concepts(page: Figure, part: ConceptPart, towards: str, unit: str) -> float:
    """Lay concepts out on an empty page: warnings, a sentence, the stacked bar, and a row for each.

    Args:
        page: Of the size ``A4``.
        part: What to say.
        towards: What effects are measured of, see ``value_words.towards``.
        unit: Of the effects.

    Returns:
        Where the next part may begin, as a share of the page's height.
    """
    top = write_lines(page, TOP, "What it shows", 13, weight="bold")
    if part.warning:
        top = write_lines(page, top - 0.004, part.warning, 9, ALARM, "bold")
    top = write_lines(page, top - 0.004, part.sentence, 9)
    if part.stack:
        top = _stack(page, top - 0.008, part)
    top = _head(page, top - 0.016, unit)
    named, unnamed = ([row for row in part.rows if bool(row.mark) == known] for known in (True, False))
    room = top - BOTTOM - _NOTE - sum(map(_height, unnamed))
    fitting = int(np.searchsorted(np.cumsum([_height(row) for row in named]), room, side="right"))
    for row in (*named[:fitting], *unnamed):
        top = _row(page, top, row)
    if len(named) > fitting:
        top = write_lines(page, top - 0.004, f"{len(named) - fitting} more concepts are left out.", 8, MUTED)
    top = write_lines(
        page,
        top - 0.006,
        f"Effect: measured change of the model's {towards} by the regions that show the concept, and "
        "their share of the decisive change. Units: how many units carry the name; activation: their "
        "strongest activation in this image, in standard deviations above the mean of all images; area: overlap "
        "(intersection over union) of their masks with the decisive regions; –: no unit carries the name. A strong "
        "activation says that something is there, only the effect that it decides. Pictures titled “Region” are of "
        f"this image, all others are examples. Names of version {part.version}.",
        7,
        MUTED,
    )
    return top - 0.03


def _stack(page: Figure, top: float, part: ConceptPart) -> float:
    height, left = 0.024, LEFT
    for row, percent in part.stack:
        width = WIDTH * percent / 100
        _box(page, left, top - height, width, height, row)
        label = row.mark if percent >= 3 else ""
        if percent >= 12:
            label = f"{label} {words.share(row.entry.share)}".strip()
        paper = None if row.mark else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        page.text(
            left + width / 2, top - height / 2, label, fontsize=8, fontweight="bold", color=_LETTER, ha="center",
            va="center_baseline", bbox=paper if label else None,
        )  # fmt: skip
        left += width
    return top - height


def _head(page: Figure, top: float, unit: str) -> float:
    names = {
        LEFT: "Concept", LEFT + _NAMES: "Looks like", _EFFECT: f"Effect ({unit})\nand share", _UNITS: "Units",
        _ACTIVATION: "Activation\n(SD)", _AREA: "Area\n(overlap)", _REGIONS: "Regions",
    }  # fmt: skip
    bottom = top - 2 * line_height(7)
    for left, name in names.items():
        page.text(left, bottom, name, fontsize=7, color=MUTED, va="bottom")
    _rule(page, bottom - 0.004, _PLAIN)
    return bottom - 0.006


def _height(row: ConceptRow) -> float:
    """Return the height of a row, as a share of the page's: its words are whole, however many there are."""
    captions = [len(caption_lines(patch.title, _PICTURE)) for patch in row.pictures[:PICTURES]]
    pictures = _PICTURE * A4[0] / A4[1] + max(captions, default=0) * line_height(_CAPTION) + 0.006
    name, small = _words(row)
    return max(_ROW, pictures, len(name) * line_height(8) + len(small) * line_height(6.5) + 0.006)


def _row(page: Figure, top: float, row: ConceptRow) -> float:
    height = _height(row)
    entry, middle = row.entry, top - height / 2
    side = 0.022
    _box(page, LEFT, middle - side * A4[0] / A4[1] / 2, side, side * A4[0] / A4[1], row)
    page.text(
        LEFT + side / 2, middle, row.mark, fontsize=8, fontweight="bold", color=_LETTER, ha="center",
        va="center_baseline",
    )  # fmt: skip
    _name(page, middle, row, LEFT + _BESIDE)
    for place, patch in enumerate(row.pictures[:PICTURES]):
        left = LEFT + _NAMES + place * (_PICTURE + 0.006)
        draw_patch(page, left, top - 0.002, _PICTURE, patch, patch.title, _CAPTION)
    _number(
        page,
        _EFFECT,
        middle,
        words.signed(entry.effect),
        row.effect,
        0.12,
        TARGET if entry.effect >= 0 else FIRST_ANSWER,
    )
    page.text(_EFFECT + 0.055, middle + 0.003, words.share(entry.share), fontsize=8, color=MUTED)
    answered = entry.units > 0
    _number(page, _UNITS, middle, str(entry.units), row.units, 0.05)
    _number(page, _ACTIVATION, middle, words.signed(entry.activation) if answered else "–", row.activation, 0.055)
    _number(page, _AREA, middle, words.share(entry.area) if answered else "–", row.area, 0.075)
    regions = textwrap.fill(", ".join(map(str, entry.regions)), 10) or "–"
    page.text(_REGIONS, middle, regions, fontsize=7.5, va="center")
    _rule(page, top - height, _TRACK)
    return top - height


_BESIDE = 0.03
"""Width of the mark before a name, as a share of the page's."""


def _words(row: ConceptRow) -> tuple[list[str], list[str]]:
    """Return the lines of a concept's name, and the small ones below it."""
    width = _NAMES - _BESIDE
    below = "no feature of a disease" if row.spurious else row.code or "not named yet"
    return (
        textwrap.wrap(row.name, letters_across(width, 8, "bold")),
        textwrap.wrap(below, letters_across(width, 6.5)),
    )


def _name(page: Figure, middle: float, row: ConceptRow, left: float) -> None:
    lines, small = _words(row)
    top = middle + (len(lines) * line_height(8) + len(small) * line_height(6.5)) / 2
    style = "normal" if row.mark else "italic"
    page.text(left, top, "\n".join(lines), fontsize=8, fontweight="bold", style=style, va="top", parse_math=False)
    colour, weight = (ALARM, "bold") if row.spurious else (MUTED, "normal")
    below = top - len(lines) * line_height(8)
    page.text(
        left, below, "\n".join(small), fontsize=6.5, color=colour, fontweight=weight, va="top",
        parse_math=False,
    )  # fmt: skip


def _number(
    page: Figure, left: float, middle: float, text: str, length: float | None, width: float, colour: str = _PLAIN
) -> None:
    """Draw a number with a bar beneath it."""
    page.text(left, middle + 0.003, text, fontsize=8, fontweight="bold")
    if length is not None:
        for share, shade in ((1.0, _TRACK), (length, colour)):
            page.add_artist(Rectangle((left, middle - 0.006), share * width, 0.0045, color=shade, linewidth=0))


def _box(page: Figure, left: float, bottom: float, width: float, height: float, row: ConceptRow) -> None:
    """Draw the concept's colour, or a hatch if it has no name."""
    box = Rectangle((left, bottom), width, height, facecolor=row.colour or "white", edgecolor="white", linewidth=0.8)
    if not row.mark:
        box.set(facecolor="white", edgecolor=_HATCH, linewidth=0.4, hatch="//////")
    page.add_artist(box)


def _rule(page: Figure, height: float, colour: str) -> None:
    page.add_artist(Rectangle((LEFT, height), WIDTH, 0.0004, color=colour, linewidth=0))
