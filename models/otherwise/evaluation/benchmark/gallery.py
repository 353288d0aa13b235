"""Pictures of a comparison: what was made of typical images, and of those that went worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from otherwise.evaluation.benchmark.cases import Case
from otherwise.images.atomic import atomic_path

SHOWN = 5
"""Images in a picture."""
TITLES = ("image", "counterfactual", "change", "measured effect", "true counterfactual")


def ranked(rows: Sequence[Mapping[str, float | str | None]], method: str) -> list[str]:
    """Return cases from the worst to the best: not valid first, then by average precision on the lesion or the feature.

    Where nobody knows it, or the black box is wrong so that it does not count, an image comes last.
    """

    def worth(row: Mapping[str, float | str | None]) -> tuple[float, float]:
        pointed = row.get("average_precision_lesion", row.get("average_precision"))
        return float(row["validity"] or 0), float(pointed if pointed is not None else np.inf)

    own = [row for row in rows if row["method"] == method]
    return [str(row["case"]) for row in sorted(own, key=worth)]


def write_gallery(cases: Sequence[Case], names: Sequence[str], out: Path, method: str, path: Path) -> None:
    """Draw images with their counterfactuals, changes and effects side by side.

    Args:
        cases: All cases.
        names: Ids of those to show, from above to below; of a volume the slice in which most is true is shown.
        out: Folder of the comparison, with ``edits/`` and ``effects/``.
        method: Whose.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    known = {case.id: case for case in cases}
    # Of real images nobody knows the true counterfactual: no empty column.
    titles = TITLES if any(known[name].counterfactual is not None for name in names) else TITLES[:-1]
    figure = Figure(figsize=(2.2 * len(titles), 2.3 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(titles), squeeze=False)
    for line, name in zip(axes, names, strict=True):
        case = known[name]
        made = np.load(out / "edits" / method / f"{name}.npy")
        effect = np.load(out / "effects" / method / f"{name}.npy")
        change = (made - case.image).mean(axis=0)
        k = _slice(case, change)
        image = _plane(case.image.mean(axis=0), k)
        limit = max(float(np.abs(change).max()), 1e-6)
        strongest = max(float(np.abs(effect).max()), 1e-6)
        line[0].imshow(image, cmap="gray", vmin=0, vmax=1)
        line[0].set_ylabel(name, fontsize=7)
        line[1].imshow(_plane(made.mean(axis=0), k), cmap="gray", vmin=0, vmax=1)
        line[2].imshow(_plane(change, k), cmap="RdBu_r", vmin=-limit, vmax=limit)
        line[3].imshow(image, cmap="gray", vmin=0, vmax=1)
        shown = _plane(effect, k)
        line[3].imshow(shown, cmap="inferno", vmin=0, vmax=strongest, alpha=np.clip(shown / strongest, 0, 1) ** 0.5)
        for axis in line[2:4]:
            _outline(axis, case, k)
        if case.counterfactual is not None:
            line[4].imshow(_plane(case.counterfactual.mean(axis=0), k), cmap="gray", vmin=0, vmax=1)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def _outline(axis: object, case: Case, k: int) -> None:
    """Draw the border of the feature that decides."""
    if case.truth is not None and _plane(case.truth, k).any():
        axis.contour(_plane(case.truth, k).astype(float), levels=[0.5], colors="#00b8d9", linewidths=0.6)  # type: ignore[attr-defined]


def _slice(case: Case, change: np.ndarray) -> int:
    if change.ndim == 2:
        return 0
    where = case.truth if case.truth is not None else np.abs(change)
    return int(where.sum(axis=(0, 1)).argmax())


def _plane(values: np.ndarray, k: int) -> np.ndarray:
    """Return a slice with i to the right and j downwards."""
    return np.asarray(values.T if values.ndim == 2 else values[:, :, k].T)
