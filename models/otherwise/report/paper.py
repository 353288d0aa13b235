"""A sheet of paper with lines of text and pictures; places are shares of the page."""

from __future__ import annotations

import io
import re
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from PIL import Image as Picture

from otherwise.report import figures
from otherwise.report.colours import OUTLINE
from otherwise.report.examples import ExamplePatch
from otherwise.report.panels import ColourBar, FigurePanel

A4 = (8.27, 11.69)
"""Inches."""
LEFT, WIDTH = 0.08, 0.84
"""Of a page, as shares of it."""
TOP, BOTTOM = 0.955, 0.05
"""Where text begins and ends, as shares of the page's height."""
MUTED, ALARM = "#444444", "#b00020"
TRACK = "#e3e8ee"
"""Colour of the empty part of a bar."""
HALO = "#000000"
_HALOS = [withStroke(linewidth=1.5, foreground=HALO)]
_LETTER_PLACES = ((0.01, 0.5, "left", "center"), (0.99, 0.5, "right", "center"), (0.5, 0.01, "center", "top"),
                  (0.5, 0.99, "center", "bottom"))  # fmt: skip
"""Of ``FigurePanel.letters``: x and y as shares of the panel, and how the letter is aligned."""


def draw_panel(axes: Axes, panel: FigurePanel) -> None:
    """Draw a panel with the outlines of its regions and the patient's directions, in the patient's proportions."""
    axes.imshow(_pixels(panel.src), extent=(0, panel.width, panel.height, 0), interpolation="nearest")
    for points in _lines(panel.grid):
        axes.plot(*points.T, color=OUTLINE, linewidth=0.5, alpha=0.75)
    for outline in panel.outlines:
        for points in _lines(outline.d):
            closed = np.concatenate([points, points[:1]])
            axes.plot(*closed.T, color=HALO, linewidth=2.2)
            axes.plot(*closed.T, color=OUTLINE, linewidth=1.1, linestyle="-" if outline.evidence else "--")
        left, top = outline.left * panel.width / 100, outline.top * panel.height / 100
        axes.text(left, top, str(outline.label), color=OUTLINE, fontsize=8, fontweight="bold", path_effects=_HALOS)
    for letter, (x, y, across, down) in zip(panel.letters, _LETTER_PLACES, strict=False):
        axes.text(
            x * panel.width, y * panel.height, letter, color="#c9d1db", fontsize=6.5, ha=across, va=down,
            path_effects=_HALOS,
        )  # fmt: skip
    axes.set(xlim=(0, panel.width), ylim=(panel.height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_anchor("NW")


def _lines(path: str) -> list[np.ndarray]:
    """Return the lines of an SVG path of straight pieces, each ``(points, 2)``."""
    pieces = path.split("M")[1:]
    return [np.array([float(each) for each in re.findall(r"-?[0-9.]+", piece)]).reshape(-1, 2) for piece in pieces]


def draw_colour_bar(
    page: Figure, box: tuple[float, float, float, float], bar: ColourBar, ends: tuple[str, str]
) -> None:
    """Draw a colour bar in a box (left, bottom, width, height), with its ends and what they mean beneath it."""
    left, bottom, width, _ = box
    axes = page.add_axes(box)
    axes.imshow(_pixels(bar.src), aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    marks = (f"−{bar.scale:.3g} {ends[0]}", "left"), ("0", "center"), (f"{ends[1]} +{bar.scale:.3g}", "right")
    for place, (text, side) in zip((0.0, 0.5, 1.0), marks, strict=True):
        page.text(
            left + place * width, bottom - 0.002, text, fontsize=6.5, color=MUTED, ha=side, va="top", parse_math=False
        )


def draw_meter(page: Figure, left: float, bottom: float, width: float, share: float, colour: str) -> None:
    """Draw a bar that is filled to a share in [0, 1]."""
    for part, shade in ((1.0, TRACK), (share, colour)):
        page.add_artist(Rectangle((left, bottom), part * width, 0.006, color=shade, linewidth=0))


def _pixels(source: str) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(figures.from_data_uri(source))).convert("RGB"))


def draw_patch(
    page: Figure, left: float, top: float, width: float, patch: ExamplePatch, caption: str, size: float
) -> None:
    """Draw an example patch as a square, with its caption below it, whole.

    Args:
        page: Of the size ``A4``.
        left, top: Where it begins, as shares of the page.
        width: Of the square, as a share of the page's.
        patch: The picture.
        caption: The words.
        size: Of the letters, in points.
    """
    height = width * A4[0] / A4[1]
    axes = page.add_axes((left, top - height, width, height))
    axes.imshow(patch.rgb)
    axes.set_axis_off()
    lines = "\n".join(caption_lines(caption, width, size))
    page.text(left, top - height - 0.001, lines, fontsize=size, color=MUTED, va="top", parse_math=False)


def caption_lines(caption: str, width: float, size: float = 5) -> list[str]:
    """Return the lines of a caption that is ``width`` wide, a share of the page's."""
    # In a narrow column a line of wide letters would reach into the next one.
    return textwrap.wrap(caption, max(1, int(0.88 * letters_across(width, size))))


def write_lines(
    page: Figure, top: float, text: str, size: float, colour: str = "black", weight: str = "normal"
) -> float:
    """Write lines from ``top`` (share of the page) downwards; returns where they end."""
    lines = textwrap.wrap(text, letters_across(WIDTH, size, weight)) or [""]
    page.text(LEFT, top, "\n".join(lines), fontsize=size, color=colour, fontweight=weight, va="top", parse_math=False)
    return top - len(lines) * line_height(size)


def size_that_fits(text: str, width: float, size: float, weight: str = "normal") -> float:
    """Return the size in points, at most ``size``, at which a line of text fits into a width.

    Args:
        text: Without mathematical markup.
        width: A share of the page's.
        size: The greatest size.
        weight: Of the letters.
    """
    drawn = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight))
    room = width * A4[0] * 72
    return size * min(1.0, room / max(float(drawn.get_extents().x1), 1e-6))


def letters_across(width: float, size: float, weight: str = "normal") -> int:
    """Return how many letters of a size in points fit into a width, a share of the page's."""
    # A letter is about half as wide as it is high, a bold one wider.
    return int(width * A4[0] * 72 / ((0.64 if weight == "bold" else 0.53) * size))


def line_height(size: float) -> float:
    """Return the height of a line of letters of a size in points, as a share of the page's."""
    return 1.35 * size / 72 / A4[1]
