"""One explanation as one page: self-contained, readable and printable without network, scripts or colour vision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from otherwise.annotations.vocabulary import Key
from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    PathPoint,
    Place,
    Probabilities,
    Region,
    Seen,
    Volumes,
)
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.report import figures, words
from otherwise.report.concepts import concept_part
from otherwise.report.examples import Examples
from otherwise.report.pages import pages
from otherwise.report.panels import WEAK, ColourBar, FigurePanel, Panels

PICTURED_REGIONS = 12
"""Regions beyond this stand in the table without pictures, so that the page stays small."""


@dataclass(frozen=True)
class Card:
    """A titled picture (in 3-D: one of each plane) with a sentence."""

    title: str
    text: str
    panels: tuple[FigurePanel, ...]
    bar: ColourBar | None = None
    ends: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Step:
    """One image of the path."""

    panel: FigurePanel
    point: PathPoint
    flipped: bool


def write_report(
    explanation: Explanation, path: Path, examples: Examples | None = None, spurious: Collection[Key] = ()
) -> Path:
    """Write the page.

    Args:
        explanation: What to show.
        path: The file to write; an existing one is replaced only once the new one is complete.
        examples, spurious: See :func:`render_report`.

    Returns:
        ``path``.

    Raises:
        WriteError: if the disk is full or the place cannot be written.
    """
    page = render_report(explanation, examples, spurious)
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def render_report(explanation: Explanation, examples: Examples | None = None, spurious: Collection[Key] = ()) -> str:
    """Make the page as HTML text; every name in it is escaped.

    Args:
        explanation: What to show.
        examples: Pictures of what the concepts mean; without any of a concept, its regions in this image are shown.
        spurious: Terms that are no feature of a disease; the page says how far the decision rests on them.
    """
    panels = Panels(explanation)
    plot, positions = figures.path_plot(
        [point.strength for point in explanation.path],
        [point.probabilities for point in explanation.path],
        [explanation.prediction.label, explanation.target],
        explanation.boundary,
    )
    return (
        pages()
        .get_template("report.html.j2")
        .render(
            explanation=explanation,
            question=words.question(explanation),
            answer=words.answer(explanation),
            bars=_bars(explanation),
            cards=cards(explanation, panels),
            volumetric=explanation.volumes.original.dimension == 3,
            concepts=concept_part(explanation, panels.window, examples, spurious),
            regions=_regions(explanation, panels),
            region_headings=words.headings(explanation.volumes.original.unit),
            steps=steps(explanation, panels),
            plot=Markup(plot),
            positions=positions,
            alternatives=_alternatives(explanation, panels),
            provenance=provenance(explanation),
        )
    )


def _bars(explanation: Explanation) -> list[tuple[str, list[Probabilities]]]:
    """Return each class with the answers for the original, the minimal change and the counterfactual."""
    answers = [
        explanation.prediction.probabilities,
        explanation.minimal.probabilities,
        explanation.counterfactual.probabilities,
    ]
    return [(name, answers) for name in explanation.prediction.probabilities]


def cards(explanation: Explanation, panels: Panels) -> list[Card]:
    """Original, counterfactual, change, regions, effect and minimal change, each with a sentence."""
    volumes, target = explanation.volumes, explanation.target
    found, minimal = explanation.counterfactual, explanation.minimal
    seen = [_seen_card(explanation.seen, panels)] if explanation.seen else []
    return [
        Card(
            "Original",
            _says(explanation.prediction.probabilities, explanation),
            panels.image(volumes.original, "Original"),
        ),
        Card(
            "Counterfactual" if found.valid else "Nearest attempt",
            _found(found, explanation),
            panels.image(volumes.counterfactual, "Counterfactual" if found.valid else "Nearest attempt"),
        ),
        Card(
            "Change",
            "Counterfactual minus original, in the image's units. Grey: below the reconstruction floor, no meaning.",
            panels.change(volumes.difference, "Change from original to counterfactual"),
            panels.change_bar,
            ("darker", "brighter"),
        ),
        Card(
            "Decisive regions",
            "Outlined on the original; 1 is the strongest." if explanation.regions else "No region decides on its own.",
            panels.image(volumes.original, "Original with the decisive regions outlined", outlined=True),
        ),
        Card(
            "Measured effect",
            f"Log-odds of {target} at each voxel, measured by changing one place at a time and by leaving one out. "
            f"Grey: below {WEAK:.0%} of the strongest.",
            panels.effect("Measured effect over the original"),
            panels.effect_bar,
            ("against", "towards"),
        ),
        Card(
            "Minimal change" if minimal.valid else "Minimal change: none found",
            _found(minimal, explanation),
            panels.image(volumes.minimal, "Original with only the needed regions changed", outlined=True),
        ),
        *seen,
    ]


def _seen_card(seen: Seen, panels: Panels) -> Card:
    """Return what the classifier saw of the original, with what was cut off."""
    low, high = seen.window
    clipped = f"{words.share(seen.below)} of the voxels are darker, {words.share(seen.above)} brighter"
    text = f"{_seen_size(seen)}, black at {low:.4g} and white at {high:.4g}; {clipped}."
    return Card("As the classifier sees it", text, panels.seen(seen.image))


def _seen_size(seen: Seen) -> str:
    return " × ".join(str(edge) for edge in seen.image.geometry.shape[: seen.image.dimension]) + " voxels"


def _found(found: Counterfactual, explanation: Explanation) -> str:
    unchanged = "" if found.valid else "; the model keeps its answer"
    changed = f"{words.share(found.changed_fraction)} of the image changed"
    return f"{_says(found.probabilities, explanation)}{unchanged}. {changed}."


def _says(probabilities: Probabilities, explanation: Explanation) -> str:
    names = dict.fromkeys((explanation.prediction.label, explanation.target))
    return ", ".join(f"{name} {words.probability(probabilities[name])}" for name in names if name in probabilities)


def _regions(explanation: Explanation, panels: Panels) -> list[tuple[Region, tuple[FigurePanel, ...], float]]:
    """Return each region with its pictures and the length of its bar as a share of the strongest effect."""
    strongest = max((abs(region.effect) for region in explanation.regions), default=0.0) or 1.0
    return [
        (region, panels.before_and_after(region) if place < PICTURED_REGIONS else (), region.effect / strongest)
        for place, region in enumerate(explanation.regions)
    ]


def steps(explanation: Explanation, panels: Panels) -> list[Step]:
    """Return the images of the path."""
    return [
        Step(
            panels.small(image, f"Path at strength {point.strength:g}"),
            point,
            words.answers(point.probabilities, explanation.target) if point.flipped is None else point.flipped,
        )
        for point, image in zip(explanation.path, explanation.volumes.path, strict=True)
    ]


def _alternatives(explanation: Explanation, panels: Panels) -> list[tuple[FigurePanel, FigurePanel, str]]:
    rows = []
    for number, (found, image) in enumerate(
        zip(explanation.alternatives, explanation.volumes.alternatives, strict=True), start=1
    ):
        change = panels.small_change(_difference(image, explanation.volumes), f"Change of alternative {number}")
        rows.append((panels.small(image, f"Alternative {number}"), change, _found(found, explanation)))
    return rows


def _difference(image: Image, volumes: Volumes) -> Image:
    """Return an image minus the original; on a coarser grid the path begins with the original."""
    original = volumes.original if image.geometry.same_as(volumes.original.geometry) else volumes.path[0]
    return image.with_array(image.array.astype("float32") - original.array.astype("float32"))


def _place(place: Place | None) -> list[tuple[str, str]]:
    """Return where a find lies in the whole image, and what the whole is called with and without it."""
    if place is None:
        return []
    box = ", ".join(f"{a}–{b - 1}" for a, b in zip(place.low, place.high, strict=True))
    size = " × ".join(str(count) for count in place.shape)
    answers = [
        ", ".join(f"{name} {words.probability(value)}" for name, value in answer.items())
        for answer in (place.before, place.after)
    ]
    return [
        ("Part of a larger image", f"voxels {box} of {size}"),
        ("Its most suspicious patch, before", answers[0]),
        ("Its most suspicious patch, after", answers[1]),
    ]


def provenance(explanation: Explanation) -> list[tuple[str, str]]:
    """Return how the explanation was made: the image, the models, when, and how long it took."""
    original, index, seen = explanation.volumes.original, explanation.slice_index, explanation.seen
    count = original.dimension
    size = " × ".join(str(number) for number in original.geometry.shape[:count])
    realism = explanation.counterfactual.realism
    spacing = " × ".join(f"{step:.3g}" for step in original.geometry.spacing[:count])
    return [
        ("Image", explanation.image_id),
        ("Image SHA-256", explanation.image_sha256),
        ("Grid", f"{size} voxels, {spacing} mm" if original.unit == "mm" else f"{size} pixels of unknown size"),
        *(
            [("Slice shown to the classifier", f"{index + 1} of {original.geometry.shape[2]}")]
            if index is not None
            else []
        ),
        *([("The classifier's input", f"{_seen_size(seen)}, {seen.contract}")] if seen else []),
        *_place(explanation.place),
        ("Classifier", explanation.classifier.name),
        ("Classifier version", explanation.classifier.version),
        ("Agent", explanation.agent.name),
        ("Agent version", explanation.agent.version),
        ("Explanation", explanation.id),
        ("Made", words.moment(explanation.created)),
        ("Took", f"{words.duration(explanation.seconds)}, {explanation.queries} queries to the classifier"),
        ("Reconstruction error", f"{explanation.reconstruction_l1:.4f} of the intensity window (mean absolute)"),
        ("Counterfactual, mean change", f"{explanation.counterfactual.l1:.4f} of the intensity window"),
        *([("Counterfactual, realism", f"{realism:.2f}")] if realism is not None else []),
        ("Minimal, mean change", f"{explanation.minimal.l1:.4f} of the intensity window"),
    ]
