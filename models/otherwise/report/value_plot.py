"""Plots of an explanation of a value: the value along the path, and survival before and after."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from otherwise.blackbox.output_kind import with_unit
from otherwise.explain.value import SurvivalCurves, ValueAnswer
from otherwise.report.colours import FIRST_ANSWER, TARGET
from otherwise.report.path_plot import INK, inline_svg, on_page


def value_plot(strengths: Sequence[float], values: Sequence[float], answer: ValueAnswer) -> tuple[str, list[float]]:
    """Plot the value along the way from the original to beyond the target.

    Args:
        strengths: Of every step, ascending.
        values: The value at every step, in the unit.
        answer: The question and its answer.

    Returns:
        SVG text and the x of every step in its units, see ``path_plot``.
    """
    figure = Figure(figsize=(6.4, 2.9))
    axes = figure.add_axes((0.14, 0.17, 0.61, 0.76))
    draw_values(axes, strengths, values, answer)
    axes.axvline(strengths[0] if strengths else 0, color=INK, linewidth=1.2, alpha=0.7, gid="step")
    on_page(figure, axes)
    positions = [float(axes.transData.transform((x, 0))[0] * 72 / figure.dpi) for x in strengths]
    return inline_svg(figure), positions


def draw_values(axes: Axes, strengths: Sequence[float], values: Sequence[float], answer: ValueAnswer) -> None:
    """Draw the line of ``value_plot``; what counts as reached is shaded."""
    question, unit = answer.question, answer.kind.unit
    low, high = min([*values, question.cut]), max([*values, question.cut])
    margin = 0.08 * ((high - low) or 1.0)
    low, high = low - margin, high + margin
    axes.axhspan(max(question.low, low), min(question.high, high), color=TARGET, alpha=0.15, linewidth=0)
    axes.plot(strengths, values, "-", color=TARGET, linewidth=2.2, marker="o", markersize=4.2, clip_on=False)
    axes.set(
        ylim=(low, high),
        xlabel="strength of the edit (0: the original)",
        ylabel=textwrap.fill(answer.kind.name if unit == "1" else f"{answer.kind.name} ({unit})", 24),
    )
    axes.yaxis.label.set_fontsize(9)
    axes.set_xlim(*((strengths[0], strengths[-1]) if len(set(strengths)) > 1 else (-0.5, 0.5)))
    middle = (max(question.low, low) + min(question.high, high)) / 2
    axes.annotate(
        textwrap.fill(question.text, 14),
        (1.02, middle),
        xycoords=("axes fraction", "data"),
        color=TARGET,
        weight="bold",
        va="center",
        annotation_clip=False,
        parse_math=False,
    )
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(False)


def curves_plot(curves: SurvivalCurves, answer: ValueAnswer) -> str:
    """Plot survival before and after; SVG text, see ``path_plot``."""
    figure = Figure(figsize=(6.4, 2.6))
    axes = figure.add_axes((0.12, 0.19, 0.56, 0.74))
    draw_curves(axes, curves, answer)
    on_page(figure, axes)
    return inline_svg(figure)


def draw_curves(axes: Axes, curves: SurvivalCurves, answer: ValueAnswer) -> None:
    """Draw survival of the original and of the counterfactual, and the horizon."""
    ends = []
    for values, colour, style, name, risk in (
        (curves.before, FIRST_ANSWER, "--", "original", answer.original),
        (curves.after, TARGET, "-", "counterfactual", answer.counterfactual),
    ):
        axes.plot(curves.times, values, style, color=colour, linewidth=2.2, marker="o", markersize=4.2, clip_on=False)
        ends.append((values[-1], f"{name}: {with_unit(risk, '%')}", colour))
    apart = 0.12
    (lower, *first), (upper, *second) = sorted(ends)
    missing = max(0.0, apart - (upper - lower)) / 2
    for height, (text, colour) in ((lower - missing, first), (upper + missing, second)):
        axes.annotate(
            text,
            (1.02, height),
            xycoords=("axes fraction", "data"),
            color=colour,
            weight="bold",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    if answer.kind.horizon is not None:
        axes.axvline(answer.kind.horizon, color=INK, linewidth=0.8, alpha=0.5)
        axes.annotate(
            f"risk by {answer.kind.horizon:g} {curves.unit}",
            (answer.kind.horizon, 0.04),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=INK,
            annotation_clip=False,
            parse_math=False,
        )
    axes.set(
        ylim=(0, 1), yticks=(0, 0.5, 1), xlim=(curves.times[0], curves.times[-1]), xlabel=curves.unit, ylabel="survival"
    )
    axes.set_xticks(curves.times)
    axes.spines[["top", "right"]].set_visible(False)
