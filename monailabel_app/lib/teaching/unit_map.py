"""All units as one picture: those that are strong in the same images lie close together, and names give colour."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
"""Okabe and Ito's palette, for readers of any colour vision; names beyond it share one grey."""
UNNAMED, OTHER, MARK = "#d5d5d5", "#7a7a7a", "#111111"
WORDS = 34
"""Most characters of a name in the legend."""


def draw_units(
    units: Sequence[str], places: np.ndarray, names: Mapping[str, str], marked: Collection[str] = ()
) -> bytes:
    """Draw the map.

    Args:
        units: Names of all units.
        places: ``(units, 2)``: where each lies.
        names: What units are called; the others are unnamed.
        marked: Units to be ringed, such as those that answer to a region.

    Returns:
        A PNG of 440 x 330 pixels.
    """
    from matplotlib.figure import Figure

    common = [name for name, _ in Counter(names.values()).most_common(len(COLOURS))]
    colours = dict(zip(common, COLOURS, strict=False))
    figure = Figure(figsize=(4.4, 3.3), dpi=100, layout="constrained")
    axes = figure.subplots()
    for group, colour, label in _groups(units, names, colours):
        x, y = places[group].T
        axes.scatter(x, y, s=12 if label else 7, c=colour, linewidths=0, label=label, zorder=2)
    ringed = np.array([unit in marked for unit in units])
    if ringed.any():
        x, y = places[ringed].T
        axes.scatter(x, y, s=42, label="answers", zorder=3, facecolors="none", edgecolors=MARK, linewidths=1.2)
    axes.set_axis_off()
    axes.margins(0.03)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(
            loc="outside lower center", fontsize=7, frameon=False, ncols=2, handletextpad=0.2, columnspacing=1
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def _groups(
    units: Sequence[str], names: Mapping[str, str], colours: Mapping[str, str]
) -> list[tuple[np.ndarray, str, str | None]]:
    """Which units are drawn together, in which colour, and how the legend calls them."""
    called = [names.get(unit) for unit in units]
    groups: list[tuple[np.ndarray, str, str | None]] = [(np.array([name is None for name in called]), UNNAMED, None)]
    beyond = np.array([name is not None and name not in colours for name in called])
    if beyond.any():
        groups.append((beyond, OTHER, "other names"))
    for name, colour in colours.items():
        short = name if len(name) <= WORDS else f"{name[: WORDS - 1]}…"
        groups.append((np.array([each == name for each in called]), colour, short))
    return groups
