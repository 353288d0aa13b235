"""Pictures of a comparison: what was made of typical images, and of those that went worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.cases import Case
from otherwise.images.atomic import atomic_path
from otherwise.report import figures, words
from otherwise.report.colours import OUTLINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 5
"""Images in a picture."""
TITLES = (
    "image",
    "counterfactual",
    "change\n(of the intensity window)",
    "measured effect\n(log-odds of the target)",
    "true counterfactual",
)
WEAK = 0.05
"""Changes and effects below this share of the strongest are left uncoloured."""
THIN = 0.1
"""A feature of strokes at most two pixels wide has less than this share of pixels with four neighbours in it."""
THIN_MARGIN = 2
"""Pixels between thin strokes and their outline."""


def ranked(rows: Sequence[Mapping[str, float | str | None]], method: str) -> list[str]:
    """Return cases from the worst to the best: not valid first, then by average precision on the lesion or the feature.

    Images without that figure come last: their truth is unknown, or the black box is wrong about them.
    """

    def worth(row: Mapping[str, float | str | None]) -> tuple[float, float]:
        pointed = row.get("average_precision_lesion", row.get("average_precision"))
        return float(row["validity"] or 0), float(pointed if pointed is not None else np.inf)

    own = [row for row in rows if row["method"] == method]
    return [str(row["case"]) for row in sorted(own, key=worth)]


def write_gallery(
    cases: Sequence[Case], names: Sequence[str], classifier: BlackBox, out: Path, method: str, path: Path
) -> None:
    """Write the picture of :func:`draw_gallery` as PNG to ``path``.

    Raises:
        WriteError: if the place cannot be written.
    """
    figure = draw_gallery(cases, names, classifier, out, method)
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def draw_gallery(cases: Sequence[Case], names: Sequence[str], classifier: BlackBox, out: Path, method: str) -> Figure:
    """Draw images with their counterfactuals, changes and effects side by side, and what the black box says of each.

    Args:
        cases: All cases.
        names: Ids of those to show, from top to bottom; of a volume the slice in which most is true is shown.
        classifier: The black box.
        out: Folder of the comparison, with ``edits/`` and ``effects/``.
        method: Name of the method that is shown.
    """
    from matplotlib.figure import Figure

    known = {case.id: case for case in cases}
    # The true counterfactual of real images is unknown: no empty column.
    titles = TITLES if any(known[name].counterfactual is not None for name in names) else TITLES[:-1]
    figure = Figure(figsize=(2.2 * len(titles), 0.5 + 2.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(titles), squeeze=False)
    for line, name in zip(axes, names, strict=True):
        made = np.load(out / "edits" / method / f"{name}.npy")
        effect = np.load(out / "effects" / method / f"{name}.npy")
        _draw_case(line, known[name], made, effect, classifier)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def _draw_case(line: Sequence[Axes], case: Case, made: np.ndarray, effect: np.ndarray, classifier: BlackBox) -> None:
    """Draw one row: the image, its counterfactual, the change, the effect and, where it is known, the truth."""
    change = (made - case.image).mean(axis=0)
    k = _slice(case, change)
    shown = [case.image, made, *([case.counterfactual] if case.counterfactual is not None else [])]
    answers = classifier.predict(np.stack(shown).astype(np.float32))
    background = figures.grey(_plane(case.image.mean(axis=0), k)[None], (0.0, 1.0))
    for axis, image, answer in zip((line[0], line[1], line[-1]), shown, answers, strict=False):
        axis.imshow(figures.grey(_plane(image.mean(axis=0), k)[None], (0.0, 1.0)))
        axis.set_xlabel(_sentence(classifier, answer), fontsize=8)
    line[0].set_ylabel(case.id, fontsize=7)
    for axis, values, hues in ((line[2], change, figures.CHANGE_HUES), (line[3], effect, figures.EFFECT_HUES)):
        scale = max(float(np.abs(values).max()), 1e-6)
        axis.imshow(figures.overlay(background, _plane(values, k), scale, WEAK * scale, hues))
        _draw_bar(axis, scale, hues)
        _outline(axis, case, k)


def _sentence(classifier: BlackBox, answer: np.ndarray) -> str:
    """Return the class that the black box says, with its probability."""
    label = DecisionRule.of(classifier).label(answer)
    return f"{classifier.classes[label]} {words.probability(float(answer[label]))}"


def _draw_bar(axis: Axes, scale: float, hues: figures.Hues) -> None:
    """Draw the colour bar of ``figures.overlay`` below a picture."""
    bar = axis.inset_axes((0.0, -0.07, 1.0, 0.04))
    pixels = figures.colour_bar(scale, WEAK * scale, hues)
    bar.imshow(pixels, extent=(-scale, scale, 0, 1), aspect="auto")
    bar.set_xticks([-scale, 0, scale], [f"−{scale:.2g}", "0", f"+{scale:.2g}"], fontsize=7)
    bar.set_yticks([])


def _outline(axis: Axes, case: Case, k: int) -> None:
    """Draw the border of the decisive feature; of thin strokes at a distance, so that their colour stays visible."""
    if case.truth is None or not _plane(case.truth, k).any():
        return
    feature = np.asarray(_plane(case.truth, k), dtype=bool)
    if binary_erosion(feature).sum() < THIN * feature.sum():
        feature = binary_dilation(feature, iterations=THIN_MARGIN)
    axis.contour(feature.astype(float), levels=[0.5], colors=OUTLINE, linewidths=0.8)


def _slice(case: Case, change: np.ndarray) -> int:
    if change.ndim == 2:
        return 0
    where = case.truth if case.truth is not None else np.abs(change)
    return int(where.sum(axis=(0, 1)).argmax())


def _plane(values: np.ndarray, k: int) -> np.ndarray:
    """Return a slice with i to the right and j downwards."""
    return np.asarray(values.T if values.ndim == 2 else values[:, :, k].T)
