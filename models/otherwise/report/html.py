"""An explanation as a self-contained page: readable and printable without network, scripts or colour vision."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from markupsafe import Markup

from otherwise.annotations.vocabulary import Key
from otherwise.explain.explanation import Explanation, Region
from otherwise.images.atomic import atomic_path
from otherwise.report import headline, value_words, words
from otherwise.report.cards import alternative_sentence, cards, change_of, seen_card
from otherwise.report.class_table import class_table
from otherwise.report.concepts import concept_part
from otherwise.report.examples import Examples
from otherwise.report.film import steps
from otherwise.report.pages import pages
from otherwise.report.panels import FigurePanel, Panels
from otherwise.report.path_plot import path_plot
from otherwise.report.provenance import provenance
from otherwise.report.similar import Similar
from otherwise.report.value_plot import curves_plot, value_plot

PICTURED_REGIONS = 12
"""Regions beyond these are listed without pictures, so that the page stays small."""


def write_report(
    explanation: Explanation,
    path: Path,
    examples: Examples | None = None,
    spurious: Collection[Key] = (),
    similar: Similar | None = None,
) -> Path:
    """Write the page.

    Args:
        explanation: What to show.
        path: The file to write; an existing one is replaced only once the new one is complete.
        examples, spurious, similar: See :func:`render_report`.

    Returns:
        ``path``.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
    """
    page = render_report(explanation, examples, spurious, similar)
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def render_report(
    explanation: Explanation,
    examples: Examples | None = None,
    spurious: Collection[Key] = (),
    similar: Similar | None = None,
) -> str:
    """Make the page as HTML text; every name in it is escaped.

    Args:
        explanation: What to show.
        examples: Pictures of what the concepts mean; without any of a concept, its regions in this image are shown.
        spurious: Terms that are no feature of a disease; the page says how far the decision rests on them.
        similar: Regions of other images that look like those of this one.
    """
    panels = Panels(explanation)
    strengths = [point.strength for point in explanation.path]
    answers = [point.probabilities for point in explanation.path]
    value = explanation.value
    if value is None:
        highlighted = [explanation.prediction.label, explanation.target]
        plot, positions = path_plot(strengths, answers, highlighted, explanation.boundary)
    else:
        plot, positions = value_plot(strengths, [value.of(answer) for answer in answers], value)
    return (
        pages()
        .get_template("report.html.j2")
        .render(
            explanation=explanation,
            origin=value_words.origin(explanation),
            target=value_words.target(explanation),
            destination=value_words.destination(explanation),
            nothing_found=value_words.nothing_found(explanation),
            effect_unit=value_words.effect_unit(explanation),
            towards=value_words.towards(explanation),
            curves=Markup(curves_plot(value.curves, value)) if value is not None and value.curves else None,
            question=headline.question(explanation),
            answer=headline.answer(explanation),
            classes=class_table(explanation),
            cards=cards(explanation, panels),
            volumetric=explanation.volumes.original.dimension == 3,
            concepts=concept_part(explanation, panels.window, examples, spurious),
            regions=_regions(explanation, panels),
            similar=similar or {},
            region_headings=words.headings(explanation.regions, explanation.volumes.original.unit),
            steps=steps(explanation, panels),
            plot=Markup(plot),
            positions=positions,
            alternatives=_alternatives(explanation, panels),
            seen=seen_card(explanation, panels),
            provenance=provenance(explanation),
        )
    )


def _regions(explanation: Explanation, panels: Panels) -> list[tuple[Region, tuple[FigurePanel, ...], float]]:
    """Return each region with its pictures and the length of its bar as a share of the strongest effect."""
    strongest = max((abs(region.effect) for region in explanation.regions), default=0.0) or 1.0
    return [
        (region, panels.before_and_after(region) if place < PICTURED_REGIONS else (), region.effect / strongest)
        for place, region in enumerate(explanation.regions)
    ]


def _alternatives(explanation: Explanation, panels: Panels) -> list[tuple[FigurePanel, FigurePanel, str]]:
    rows = []
    for number, (found, image) in enumerate(
        zip(explanation.alternatives, explanation.volumes.alternatives, strict=True), start=1
    ):
        change = panels.small_change(change_of(image, explanation.volumes), f"Change of alternative {number}")
        rows.append((panels.small(image, f"Alternative {number}"), change, alternative_sentence(found, explanation)))
    return rows
