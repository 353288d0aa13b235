"""One explanation as a PDF of two to five pages, for the archive and for print; the HTML page shows more."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from otherwise.annotations.vocabulary import Key
from otherwise.explain.explanation import Explanation, Region
from otherwise.images.atomic import atomic_path
from otherwise.report import headline, value_words, words
from otherwise.report.cards import Card, cards, seen_card
from otherwise.report.class_table import ClassTable, class_table
from otherwise.report.colours import FIRST_ANSWER, OTHER_CLASS, TARGET
from otherwise.report.concepts import ConceptPart, concept_part
from otherwise.report.examples import Examples
from otherwise.report.film import steps
from otherwise.report.panels import Panels
from otherwise.report.paper import (
    A4,
    ALARM,
    BOTTOM,
    LEFT,
    MUTED,
    TOP,
    WIDTH,
    draw_colour_bar,
    draw_meter,
    draw_panel,
    letters_across,
    line_height,
    size_that_fits,
    write_lines,
)
from otherwise.report.paper_concepts import write_concepts
from otherwise.report.paper_similar import height_of_similar, write_similar
from otherwise.report.path_plot import draw_path
from otherwise.report.provenance import provenance
from otherwise.report.similar import Similar
from otherwise.report.value_plot import draw_curves, draw_values

_COLUMNS = {
    "No.": 0.04,
    "Called": 0.22,
    "Confidence": 0.1,
    "Effect (log-odds)": 0.1,
    "Sufficient": 0.09,
    "Necessary": 0.1,
    "Volume": 0.11,
    "Centroid (RAS, mm)": 0.17,
    "Evidence": 0.07,
}
"""Of the table of regions, with their widths as shares of it."""
_SMALL = 7.5
"""Size of letters in tables and under pictures, in points."""
_CARDS, _ACROSS, _GAP = 6, 3, 0.03
"""Pictures of the first page, in a row of them, and the space between them as a share of the page's width."""
_CAPTION = 0.115
"""Height of what is written above and below a picture, as a share of the page's."""
_CLASSES = 6
"""Classes of the first page; further ones are left out, and that is said."""
_KIND_COLOURS = {"from": FIRST_ANSWER, "to": TARGET, "other": OTHER_CLASS}
"""By ``ClassRow.kind``."""
_PATH_HEIGHT = 0.72
"""Share of the page that the path and its provenance need; where less is left they begin a new page."""
_CURVES_HEIGHT = 0.18
"""Share of the page that survival curves need."""
ROWS = 24
"""Regions of a page; further ones are left out, and that is said."""
DISCLAIMER = (
    "For research, not for clinical decision. This shows what moves the model, which need not be what is wrong with "
    "the patient."
)


def write_pdf(
    explanation: Explanation,
    path: Path,
    examples: Examples | None = None,
    spurious: Collection[Key] = (),
    similar: Similar | None = None,
) -> Path:
    """Write the PDF.

    Args:
        explanation: What to show. Of volumes the plane through the strongest place is shown.
        path: The file to write; an existing one is replaced only once the new one is complete.
        examples: Pictures of what the concepts mean; without any of a concept, its regions in this image are shown.
        spurious: Terms that are no feature of a disease; the PDF says how far the decision rests on them.
        similar: Regions of other images that look like those of this one.

    Returns:
        ``path``.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
    """
    path = Path(path)
    panels = Panels(explanation)
    with atomic_path(path) as draft, PdfPages(draft, metadata=_metadata(explanation)) as pages:
        concepts = concept_part(explanation, panels.window, examples, spurious)
        for page in _pages(explanation, panels, concepts, similar or {}):
            pages.savefig(page)
    return path


def draw_pages(explanation: Explanation, dots_per_inch: float) -> Iterator[np.ndarray]:
    """Draw the pages of the PDF as pictures, each ``(rows, columns, 3)`` uint8, red, green and blue.

    Args:
        explanation: What to show.
        dots_per_inch: Of a page of A4.
    """
    panels = Panels(explanation)
    for page in _pages(explanation, panels, concept_part(explanation, panels.window), {}):
        page.set_dpi(dots_per_inch)
        canvas = FigureCanvasAgg(page)
        canvas.draw()
        yield np.array(canvas.buffer_rgba())[..., :3]


def _pages(
    explanation: Explanation, panels: Panels, concepts: ConceptPart | None, similar: Similar
) -> Iterator[Figure]:
    yield _first(explanation, panels)
    page, top = Figure(figsize=A4), TOP
    if concepts:
        top = write_concepts(page, concepts, value_words.towards(explanation), value_words.effect_unit(explanation))
        if top - _height_of_table(explanation) < BOTTOM:
            yield page
            page, top = Figure(figsize=A4), TOP
    top = _regions(page, top, explanation)
    if top - height_of_similar(similar) < BOTTOM:
        yield page
        page, top = Figure(figsize=A4), TOP
    top = write_similar(page, top, similar)
    more = _CURVES_HEIGHT if explanation.value is not None and explanation.value.curves else 0.0
    if top < _PATH_HEIGHT + more:
        yield page
        page, top = Figure(figsize=A4), TOP
    _path(page, top, explanation, panels)
    yield page


def _metadata(explanation: Explanation) -> dict[str, str | None]:
    return {"Title": f"Explanation of {explanation.image_id}", "Creator": "Otherwise", "CreationDate": None}


def _first(explanation: Explanation, panels: Panels) -> Figure:
    """Draw what the model says, and what would make it decide otherwise, with pictures."""
    page = Figure(figsize=A4)
    top = write_lines(page, TOP, f"What would make the model decide otherwise?  {explanation.image_id}", 9, "#666666")
    sentence = f"{headline.question(explanation)} {headline.answer(explanation)}"
    top = write_lines(page, top - 0.006, sentence, 15, weight="bold")
    if not explanation.counterfactual.valid:
        warning = f"{value_words.nothing_found(explanation)}; below is the nearest attempt."
        top = write_lines(page, top - 0.004, warning, 11, ALARM, "bold")
    floor = (
        "Differences below the reconstruction floor are no evidence: the agent makes them even when it changes nothing "
        f"(mean error {100 * explanation.reconstruction_l1:.1f} % of the intensity window)."
    )
    top = write_lines(page, top - 0.004, " ".join([DISCLAIMER, floor, *explanation.remarks]), 8.5, MUTED)
    top = _classes(page, top - 0.012, class_table(explanation))
    width = (WIDTH - (_ACROSS - 1) * _GAP) / _ACROSS
    height = min((top - BOTTOM) / math.ceil(_CARDS / _ACROSS), width * A4[0] / A4[1] + _CAPTION)
    for number, card in enumerate(cards(explanation, panels)[:_CARDS]):
        row, column = divmod(number, _ACROSS)
        _card(page, (LEFT + column * (width + _GAP), top - (row + 1) * height, width, height), card)
    return page


def _classes(page: Figure, top: float, table: ClassTable) -> float:
    """Draw the probability of each class, and return where the table ends."""
    shown = table.most_probable(_CLASSES)
    first, step = 0.26, (WIDTH - 0.26) / len(table.columns)
    for column, name in enumerate(table.columns):
        page.text(LEFT + first + column * step, top, name, fontsize=_SMALL, color=MUTED, va="top")
    page.text(LEFT, top, table.title, fontsize=_SMALL, color=MUTED, va="top")
    letters = letters_across(first, 8.5, "bold")
    for row in shown:
        top -= line_height(10.5)
        colour = _KIND_COLOURS[row.kind]
        name = textwrap.shorten(row.name, letters, placeholder="…") or f"{row.name[: letters - 1]}…"
        page.text(LEFT, top, name, fontsize=8.5, fontweight="bold", color=colour, va="top", parse_math=False)
        for column, value in enumerate(row.probabilities):
            if value is not None:
                left = LEFT + first + column * step
                draw_meter(page, left, top - 0.009, 0.6 * step, value, colour)
                page.text(left + 0.63 * step, top, row.texts[column], fontsize=8.5, va="top", parse_math=False)
    top -= line_height(10.5)
    left_out = len(table.rows) - len(shown)
    return write_lines(page, top, f"{left_out} less probable classes are left out.", 8, MUTED) if left_out else top


def _card(page: Figure, box: tuple[float, float, float, float], card: Card) -> None:
    """Draw a card in a box (left, bottom, width, height): a title, a picture, its colour bar, and a sentence."""
    left, bottom, width, height = box
    panel = card.panels[0]
    axes = page.add_axes((left, bottom + _CAPTION - 0.026, width, height - _CAPTION))
    draw_panel(axes, panel)
    size = size_that_fits(card.title, width, 9, "bold")
    axes.set_title(card.title, fontsize=size, fontweight="bold", loc="left")
    below = bottom + _CAPTION - 0.032
    if card.bar:
        draw_colour_bar(page, (left, below - 0.006, width, 0.006), card.bar, card.ends)
        below -= 0.02
    lines = textwrap.fill(card.text, letters_across(width, 7), max_lines=6, placeholder=" …")
    lines = f"{panel.caption}\n{lines}" if panel.caption else lines
    page.text(left, below, lines, fontsize=7, color=MUTED, va="top", parse_math=False)


def _regions(page: Figure, top: float, explanation: Explanation) -> float:
    """Draw the table of decisive regions, and return where it ends."""
    top = write_lines(page, top, "Which regions decide", 13, weight="bold")
    if not explanation.regions:
        return write_lines(page, top, "No region was found that decides.", 9)
    rows = _rows(explanation)
    size, place = words.headings(explanation.regions, explanation.volumes.original.unit)
    effect = f"Effect ({value_words.effect_unit(explanation)})"
    own = {"Effect (log-odds)": effect, "Volume": size, "Centroid (RAS, mm)": place}
    names = [own.get(name, name) for name in _COLUMNS]
    heights = _heights(rows)
    top -= 0.01
    axes = page.add_axes((LEFT, top - sum(heights), WIDTH, sum(heights)))
    axes.axis("off")
    table = axes.table(
        rows,
        colLabels=[textwrap.fill(name, 11, break_on_hyphens=False) for name in names],
        colWidths=list(_COLUMNS.values()),
        bbox=Bbox.unit(),
        cellLoc="left",
        colLoc="left",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(_SMALL)
    for (row, _), cell in table.get_celld().items():
        cell.set_height(heights[row])
        cell.PAD = 0.03
        cell.get_text().set_parse_math(False)
    top -= sum(heights) + 0.005
    left_out = len(explanation.regions) - len(rows)
    return write_lines(page, top, f"{left_out} weaker regions are left out.", 8, MUTED) if left_out else top


def _rows(explanation: Explanation) -> list[list[str]]:
    """Return the table's cells."""
    letters = letters_across(0.85 * _COLUMNS["Called"] * WIDTH, _SMALL)
    rows = []
    for region in explanation.regions[:ROWS]:
        sure = words.confidence(region)
        rows.append(
            [
                str(region.label),
                textwrap.fill(_names(region) or "no name", letters),
                "–" if sure is None else words.probability(sure),
                words.signed(region.effect),
                _yes(region.sufficient),
                _yes(region.necessary),
                words.size(region),
                words.place(region),
                _yes(region.above_floor),
            ]
        )
    return rows


def _names(region: Region) -> str:
    return ", ".join(name for name, _ in words.findings(region))


def _heights(rows: Sequence[Sequence[str]]) -> list[float]:
    """Return the heights of the header and of every row, as shares of the page's."""
    lines = [2, *(row[1].count("\n") + 1 for row in rows)]
    return [0.007 + count * line_height(_SMALL) for count in lines]


def _height_of_table(explanation: Explanation) -> float:
    """Return the height of the table with its heading and the line below it."""
    return sum(_heights(_rows(explanation))) + 0.06


def _path(page: Figure, top: float, explanation: Explanation, panels: Panels) -> None:
    """Draw the path, and write how the explanation was made."""
    top = write_lines(
        page,
        top - 0.02,
        f"On the way from {value_words.origin(explanation)} to {value_words.destination(explanation)}",
        13,
        weight="bold",
    )
    seen = seen_card(explanation, panels)
    axes = page.add_axes((LEFT + 0.03, top - 0.2, 0.44 if seen else 0.68, 0.18))
    strengths = [point.strength for point in explanation.path]
    probabilities = [point.probabilities for point in explanation.path]
    value = explanation.value
    if value is None:
        highlighted = [explanation.prediction.label, explanation.target]
        draw_path(axes, strengths, probabilities, highlighted, explanation.boundary)
    else:
        draw_values(axes, strengths, [value.of(answer) for answer in probabilities], value)
    if seen:
        _seen(page, top, seen)
    top -= 0.25
    film = steps(explanation, panels)
    size = WIDTH / max(6, len(film))
    for number, step in enumerate(film):
        axes = page.add_axes((LEFT + number * size, top - 0.1, size - 0.008, 0.09))
        draw_panel(axes, step.panel)
        share = step.point.probabilities.get(explanation.target)
        caption = step.value or (words.probability(share) if share is not None else "")
        says = f"{step.point.strength:.2f}" + (f"\n{caption}" if caption else "")
        axes.set_xlabel(says, fontsize=7, fontweight="bold" if step.flipped else "normal", parse_math=False)
    if value is not None and value.curves:
        draw_curves(page.add_axes((LEFT + 0.03, top - 0.275, 0.44, 0.12)), value.curves, value)
        top -= _CURVES_HEIGHT
    top = write_lines(page, top - 0.15, "How this was made", 13, weight="bold")
    for name, text in provenance(explanation):
        top = write_lines(page, top - 0.002, f"{name}: {text}", 7.5, MUTED)


def _seen(page: Figure, top: float, card: Card) -> None:
    """Draw what the classifier saw at the right of the path."""
    left = LEFT + 0.64
    axes = page.add_axes((left, top - 0.175, WIDTH - 0.64, 0.145))
    draw_panel(axes, card.panels[0])
    axes.set_title(card.title, fontsize=9, fontweight="bold", loc="left")
    text = textwrap.fill(card.text, 36)
    page.text(left, top - 0.182, text, fontsize=6.5, color=MUTED, va="top", parse_math=False)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
