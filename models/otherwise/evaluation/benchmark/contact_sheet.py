"""A contact sheet: images drawn by lot, each beside its counterfactual, with what others say of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.cases import Case
from otherwise.images.atomic import atomic_path
from otherwise.report import figures, words

COUNT = 12
COLUMNS = 3
SEED = 0
"""Of the lot: the cases are drawn before anybody looks at them, failures among them."""
RIGHT, WRONG = "#1b6e3c", "#a11d2b"


def drawn_by_lot(cases: Sequence[Case], count: int = COUNT, seed: int = SEED) -> list[Case]:
    """Return ``count`` cases, or all if there are fewer, in the order of their ids."""
    ordered = sorted(cases, key=lambda case: case.id)
    chosen = np.random.default_rng(seed).permutation(len(ordered))[:count]
    return [ordered[index] for index in sorted(chosen)]


def write_contact_sheet(
    cases: Sequence[Case], classifier: BlackBox, judges: Sequence[BlackBox], made: Path, path: Path
) -> None:
    """Draw cases by lot, each with its counterfactual, what the black box says of both, and how many judges agree.

    Args:
        cases: All cases; of a volume the middle slice is shown.
        classifier: The black box.
        judges: Other classifiers of the same classes.
        made: Folder of the counterfactuals, ``<case>.npy``.
        path: PNG to write.

    Raises:
        WriteError: if the place cannot be written.
    """
    from matplotlib.figure import Figure

    chosen = [case for case in drawn_by_lot(cases) if (made / f"{case.id}.npy").is_file()]
    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(4.4 * COLUMNS, 2.55 * rows), layout="constrained")
    axes = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    rule = DecisionRule.of(classifier)
    for number, case in enumerate(chosen):
        row, column = divmod(number, COLUMNS)
        pair = np.stack([case.image, np.load(made / f"{case.id}.npy")]).astype(np.float32)
        answers = classifier.predict(pair)
        target = rule.nearest_other(answers[0])
        agree = sum(bool(DecisionRule.of(judge).predicts(judge.predict(pair[1:])[0], target)) for judge in judges)
        flips = bool(rule.predicts(answers[1], target))
        for axis, image, answer in zip(axes[row, 2 * column : 2 * column + 2], pair, answers, strict=True):
            plane = image.mean(axis=0)
            axis.imshow(figures.grey((plane if plane.ndim == 2 else plane[:, :, plane.shape[2] // 2]).T[None], (0, 1)))
            label = rule.label(answer)
            axis.set_title(f"{classifier.classes[label]} {words.probability(float(answer[label]))}", fontsize=10)
        others = f"{agree} of {len(judges)} judges agree" if judges else ""
        axes[row, 2 * column + 1].text(
            0.5,
            -0.03,
            others if flips else "does not flip",
            transform=axes[row, 2 * column + 1].transAxes,
            ha="center",
            va="top",
            fontsize=9,
            color=RIGHT if flips and agree == len(judges) else WRONG,
        )
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=90)
