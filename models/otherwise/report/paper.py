"""A sheet of paper: lines of text and pictures at places that are shares of the page."""

from __future__ import annotations

import io
import re
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Picture

from otherwise.report import figures
from otherwise.report.panels import FigurePanel

A4 = (8.27, 11.69)
"""Inches."""
LEFT, WIDTH = 0.08, 0.84
"""Of a page, as shares of it."""
TOP, BOTTOM = 0.955, 0.05
"""Where text begins and ends, as shares of the page's height."""
MUTED, ALARM = "#444444", "#b00020"


def draw_panel(axes: Axes, panel: FigurePanel) -> None:
    """A panel with the outlines of its regions, in the patient's proportions."""
    pixels = np.asarray(Picture.open(io.BytesIO(figures.from_data_uri(panel.src))).convert("RGB"))
    axes.imshow(pixels, extent=(0, panel.width, panel.height, 0), interpolation="nearest")
    for outline in panel.outlines:
        for piece in outline.d.split("M")[1:]:
            points = np.array([float(number) for number in re.findall(r"-?[0-9.]+", piece)]).reshape(-1, 2)
            closed = np.concatenate([points, points[:1]])
            axes.plot(*closed.T, color="white", linewidth=1.6)
            axes.plot(*closed.T, color="#0072b2", linewidth=0.9, linestyle="-" if outline.evidence else "--")
        left, top = outline.left * panel.width / 100, outline.top * panel.height / 100
        axes.text(left, top, str(outline.label), color="#0072b2", fontsize=8, fontweight="bold")
    axes.set(xlim=(0, panel.width), ylim=(panel.height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_anchor("NW")


def write_lines(
    page: Figure, top: float, text: str, size: float, colour: str = "black", weight: str = "normal"
) -> float:
    """Write lines from ``top`` (share of the page) downwards; returns where they end."""
    lines = textwrap.wrap(text, letters_across(WIDTH, size, weight)) or [""]
    page.text(LEFT, top, "\n".join(lines), fontsize=size, color=colour, fontweight=weight, va="top", parse_math=False)
    return top - len(lines) * line_height(size)


def letters_across(width: float, size: float, weight: str = "normal") -> int:
    """Return how many letters of a size in points fit into a width, a share of the page's."""
    # A letter is about half as wide as it is high, a bold one wider.
    return int(width * A4[0] * 72 / ((0.64 if weight == "bold" else 0.53) * size))


def line_height(size: float) -> float:
    """Height of a line of letters of a size in points, as a share of the page's."""
    return 1.35 * size / 72 / A4[1]
