"""The benchmark's figures as a Markdown table, for papers and for docs/benchmark/index.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COSTS = {"seconds": "seconds", "queries": "queries"}
MAPS = {
    "average_precision": "average precision",
    "average_precision_of_magnitude": r"the same of \|map\|",
    "average_precision_lesion": "average precision, lesion",
    "average_precision_lesion_of_magnitude": r"the same of \|map\|, lesion",
    "pointing_game": "pointing game",
    "energy_inside": "energy inside",
    "insertion_auc": "insertion ↑",
    "deletion_auc": "deletion ↓",
    "effect_correlation": "correlation of effects with true ones",
    "strongest_on_marker": "marker strongest",
}
EDITS = {
    "validity": "validity",
    "validity_of_verifier": "validity, verifier",
    "validity_of_judge_1": "validity, first judge",
    "validity_of_judge_2": "validity, second judge",
    "ssim_inside": "SSIM to truth, inside",
    "ssim_outside": "SSIM to image, outside",
    "told_apart": "told from real by texture",
    "l1": "L1",
    "perceptual": "perceptual",
    "fid": "FID",
    "kid": "KID",
    "changed_to_true_area": "changed / true area",
    "changed_to_true_change": "changed / changed in truth",
    "cout": "COUT",
}
"""Figures that the tables show, with their headings; the JSON file has all of them."""
TABLES = {"Maps: where does the classifier look?": MAPS, "Counterfactuals: what would it take?": EDITS}


def table(summary: Mapping[str, Mapping[str, Mapping[str, float]]], titles: Mapping[str, str]) -> str:
    """Write tables of means with their 95 % intervals: of maps, and of counterfactuals.

    A method stands in the tables for which it has figures; columns in which no method has one are left out.

    Args:
        summary: See ``run.summary``.
        titles: What people call each method.
    """
    parts = []
    for heading, columns in TABLES.items():
        methods = {name: figures for name, figures in summary.items() if columns.keys() & figures.keys()}
        if methods:
            parts.append(f"{heading}\n\n{_table(methods, titles, {**columns, **COSTS})}")
    return "\n".join(parts)


def _table(
    summary: Mapping[str, Mapping[str, Mapping[str, float]]], titles: Mapping[str, str], columns: Mapping[str, str]
) -> str:
    shown = [figure for figure in columns if any(figure in figures for figures in summary.values())]
    head = ["method", *(columns[figure] for figure in shown)]
    lines = [_line(head), _line(["---", *("---:" for _ in shown)])]
    for method, figures in summary.items():
        cells = [_cell(figures[figure]) if figure in figures else "" for figure in shown]
        lines.append(_line([titles.get(method, method), *cells]))
    return "\n".join(lines) + "\n"


def _cell(figure: Mapping[str, float]) -> str:
    mean, low, high = (_number(figure[key]) for key in ("mean", "low", "high"))
    return mean if low == high else f"{mean} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
