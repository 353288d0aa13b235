"""One explanation as a PDF of two or three pages, for the archive and for print; the HTML page shows more."""

from __future__ import annotations

import io
import re
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image as Picture

from otherwise.explain.explanation import Explanation
from otherwise.images.atomic import atomic_path
from otherwise.report import figures, words
from otherwise.report.html import cards, provenance, steps
from otherwise.report.panels import Panel, Panels

A4 = (8.27, 11.69)
"""Inches."""
LEFT, WIDTH = 0.08, 0.84
"""Of a page, as shares of it."""
ROWS = 24
"""Regions of a page; further ones are left out, and that is said."""
DISCLAIMER = (
    "For research, not for clinical decision. This shows what moves the model, which need not be what is wrong with "
    "the patient."
)


def write_pdf(explanation: Explanation, path: Path) -> Path:
    """Write the PDF.

    Args:
        explanation: What to show. Of volumes the plane through the strongest place is shown.
        path: The file to write; an existing one is replaced only once the new one is complete.

    Returns:
        ``path``.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
    """
    path = Path(path)
    panels = Panels(explanation)
    with atomic_path(path) as draft, PdfPages(draft, metadata=_metadata(explanation)) as pages:
        for page in (_first(explanation, panels), _second(explanation, panels)):
            pages.savefig(page)
    return path


def _metadata(explanation: Explanation) -> dict[str, str | None]:
    return {"Title": f"Explanation of {explanation.image_id}", "Creator": "Otherwise", "CreationDate": None}


def _first(explanation: Explanation, panels: Panels) -> Figure:
    """What the model says, and what would make it decide otherwise, with pictures."""
    page = Figure(figsize=A4)
    top = _write(page, 0.955, f"What would make the model decide otherwise?  {explanation.image_id}", 9, "#666666")
    top = _write(page, top - 0.006, f"{words.question(explanation)} {words.answer(explanation)}", 15, weight="bold")
    if not explanation.counterfactual.valid:
        warning = "No change was found for which the model changes its mind; below is the nearest attempt."
        top = _write(page, top - 0.004, warning, 11, "#b00020", "bold")
    floor = (
        "Differences below the reconstruction floor have no meaning: the agent makes them even when it changes nothing "
        f"(mean error {100 * explanation.reconstruction_l1:.1f} % of the intensity window)."
    )
    top = _write(page, top - 0.004, " ".join([DISCLAIMER, floor, *explanation.notes]), 8.5, "#444444")
    shown = cards(explanation, panels)
    height = (top - 0.06) / 3
    for number, card in enumerate(shown[:6]):
        row, column = divmod(number, 2)
        left, bottom = LEFT + column * (WIDTH + 0.04) / 2, top - 0.02 - (row + 1) * height
        axes = page.add_axes((left, bottom + 0.2 * height, WIDTH / 2 - 0.02, 0.72 * height))
        _draw(axes, card.panels[0])
        axes.set_title(card.title, fontsize=11, fontweight="bold", loc="left")
        text = textwrap.fill(card.text, 62)
        page.text(left, bottom + 0.17 * height, text, fontsize=7.5, color="#444444", va="top", parse_math=False)
    return page


def _second(explanation: Explanation, panels: Panels) -> Figure:
    """Which regions decide, the path, and how it was made."""
    page = Figure(figsize=A4)
    top = _write(page, 0.955, "Which regions decide", 13, weight="bold")
    regions = explanation.regions[:ROWS]
    if regions:
        names = (
            "No.",
            "Called",
            "Effect (log-odds)",
            "Sufficient",
            "Necessary",
            "Volume (mm³)",
            "Centroid (RAS, mm)",
            "Evidence",
        )
        rows = [
            [
                str(region.label),
                words.concept_name(region) or "not named yet",
                words.signed(region.effect),
                _yes(region.sufficient),
                _yes(region.necessary),
                f"{region.volume_mm3:.3g}",
                ", ".join(f"{value:.1f}" for value in region.centroid_ras),
                _yes(region.above_floor),
            ]
            for region in regions
        ]
        height = 0.021 * (len(rows) + 1)
        axes = page.add_axes((LEFT, top - height - 0.01, WIDTH, height))
        axes.axis("off")
        widths = (0.05, 0.17, 0.14, 0.1, 0.1, 0.12, 0.22, 0.1)
        table = axes.table(
            rows, colLabels=names, colWidths=widths, bbox=Bbox.unit(), cellLoc="left", edges="horizontal"
        )
        table.auto_set_font_size(False)
        table.set_fontsize(7.5)
        top -= height + 0.015
        left_out = len(explanation.regions) - len(regions)
        if left_out:
            top = _write(page, top, f"{left_out} weaker regions are left out.", 8, "#444444")
    else:
        top = _write(page, top, "No region was found that decides.", 9)
    top = _write(
        page, top - 0.02, f"On the way from {explanation.prediction.label} to {explanation.target}", 13, weight="bold"
    )
    axes = page.add_axes((LEFT + 0.03, top - 0.2, 0.68, 0.18))
    strengths = [point.strength for point in explanation.path]
    told = [point.probabilities for point in explanation.path]
    figures.draw_path(axes, strengths, told, [explanation.prediction.label, explanation.target])
    top -= 0.25
    film = steps(explanation, panels)
    size = WIDTH / max(6, len(film))
    for number, step in enumerate(film):
        axes = page.add_axes((LEFT + number * size, top - 0.1, size - 0.008, 0.09))
        _draw(axes, step.panel)
        value = step.point.probabilities.get(explanation.target)
        says = f"{step.point.strength:.2f}" + (f"\n{words.probability(value)}" if value is not None else "")
        axes.set_xlabel(says, fontsize=7, fontweight="bold" if step.flipped else "normal", parse_math=False)
    top = _write(page, top - 0.15, "How this was made", 13, weight="bold")
    for name, text in provenance(explanation):
        top = _write(page, top - 0.002, f"{name}: {text}", 7.5, "#444444")
    return page


def _draw(axes: Axes, panel: Panel) -> None:
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


def _write(page: Figure, top: float, text: str, size: float, colour: str = "black", weight: str = "normal") -> float:
    """Write lines from ``top`` (share of the page) downwards; returns where they end."""
    # A letter is about half as wide as it is high, a bold one wider.
    letters = int(WIDTH * A4[0] * 72 / ((0.64 if weight == "bold" else 0.53) * size))
    lines = textwrap.wrap(text, letters) or [""]
    page.text(LEFT, top, "\n".join(lines), fontsize=size, color=colour, fontweight=weight, va="top", parse_math=False)
    return top - len(lines) * 1.35 * size / 72 / A4[1]


def _yes(value: bool) -> str:
    return "yes" if value else "no"
