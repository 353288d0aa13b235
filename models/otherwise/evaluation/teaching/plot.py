"""The curves of the strategies as one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from otherwise.evaluation.teaching.curves import GOAL, Curve
from otherwise.images.atomic import atomic_path

PANELS = (
    ("named", "Share of the decisive change with a right name"),
    ("finest", "... with the reader's own, finest name"),
    ("concepts", "Different right names in use"),
)
COLOURS = {
    "mixed": "#009E73",
    "random": "#777777",
    "uncertainty": "#CC79A7",
    "influence": "#0072B2",
    "granularity": "#D55E00",
}
"""Okabe and Ito's palette, for readers of any colour vision."""


def draw(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    """Draw means over readers, with the middle 90 % of them, as a PNG.

    Raises:
        WriteError: if the place cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=11)
    for axes, (name, words) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for strategy, curve in curves.items():
            mean, (low, high) = curve.mean(name), curve.interval(name)
            labels = np.arange(1, len(mean) + 1)
            colour = COLOURS.get(strategy)
            axes.plot(labels, mean, label=strategy, color=colour, linewidth=1.8)
            axes.fill_between(labels, low, high, color=colour, alpha=0.12, linewidth=0)
        if name != "concepts":
            axes.axhline(GOAL, color="black", linewidth=0.6, linestyle=":")
            axes.set_ylim(0, 1.02)
        axes.set_title(words, fontsize=9)
        axes.set_xlabel("labels given")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
