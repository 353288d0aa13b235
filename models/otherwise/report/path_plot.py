"""The plot of the classes' probabilities along the path, as SVG for the page and on axes for the PDF."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from otherwise.report.colours import FIRST_ANSWER, OTHER_CLASS, TARGET

INK = "#123457"
"""Replaced by the page's own text colour; no other element uses it."""


def path_plot(
    strengths: Sequence[float],
    probabilities: Sequence[Mapping[str, float]],
    highlighted: Sequence[str],
    boundary: float | None = 0.5,
) -> tuple[str, list[float]]:
    """Plot the classes' probabilities along the way from the original to beyond the boundary.

    Args:
        strengths: Movement in latent space of every step, ascending.
        probabilities: The black box's answer at every step.
        highlighted: The class that was answered first and the target; other classes are drawn thin and grey.
        boundary: Probability from which the target is said, a thin line; None: it depends on the other classes.

    Returns:
        SVG text for use inside HTML, drawn in the page's text colour on nothing, and the x of every step in its units.
        The element with the id ``step`` is a vertical line at the first step.
    """
    figure = Figure(figsize=(6.4, 2.9))
    axes = figure.add_axes((0.1, 0.17, 0.705, 0.76))
    draw_path(axes, strengths, probabilities, highlighted, boundary)
    axes.axvline(strengths[0] if strengths else 0, color=INK, linewidth=1.2, alpha=0.7, gid="step")
    on_page(figure, axes)
    positions = [float(axes.transData.transform((x, 0))[0] * 72 / figure.dpi) for x in strengths]
    return inline_svg(figure), positions


def on_page(figure: Figure, axes: Axes) -> None:
    """Draw frame and labels in the page's text colour, on nothing."""
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def draw_path(
    axes: Axes,
    strengths: Sequence[float],
    probabilities: Sequence[Mapping[str, float]],
    highlighted: Sequence[str],
    boundary: float | None = 0.5,
) -> None:
    """Draw the lines of ``path_plot``; each highlighted class's name stands at the right end of its line."""
    for name in probabilities[0] if probabilities else ():
        values = [step.get(name, float("nan")) for step in probabilities]
        rank = list(highlighted).index(name) if name in highlighted else None
        colour, width, style = (
            (OTHER_CLASS, 1.0, "-") if rank is None else ((FIRST_ANSWER, 2.2, "--"), (TARGET, 2.2, "-"))[rank]
        )
        axes.plot(
            strengths, values, style, color=colour, linewidth=width, marker="o", markersize=2 + width, clip_on=False
        )
    # Names stand at the right end of their lines, apart from each other, rather than in a legend.
    ends = sorted((probabilities[-1].get(name, 0.0), name) for name in highlighted) if probabilities else []
    heights = _apart([value for value, _ in ends], 0.11)
    for (_, name), height in zip(ends, heights, strict=True):
        colour = TARGET if name == highlighted[-1] else FIRST_ANSWER
        short = name if len(name) <= 18 else name[:17] + "…"
        place = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(1.03, height, short, color=colour, weight="bold", va="center", transform=place, parse_math=False)
    ticks = (0, 1) if boundary is None else (0, boundary, 1)
    axes.set(
        ylim=(0, 1),
        yticks=ticks,
        yticklabels=[f"{tick:g}" for tick in ticks],
        xlabel="strength of the edit (0: the original)",
        ylabel="probability",
    )
    axes.set_xlim(*((strengths[0], strengths[-1]) if len(set(strengths)) > 1 else (-0.5, 0.5)))
    if boundary is not None:
        axes.axhline(boundary, color=INK, linewidth=0.6, alpha=0.35)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(False)


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """Shift ascending values in [0, 1] so that neighbours keep a distance."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + distance) if placed else value)
    excess = max(0.0, placed[-1] - 1.0) if placed else 0.0
    return [value - excess for value in placed]


def inline_svg(figure: Figure) -> str:
    """Render SVG that may stand inside HTML: real text, no prologue, no namespaces."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "otherwise"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
