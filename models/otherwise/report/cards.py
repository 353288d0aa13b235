"""The pictures at the head of a report, the same on the page and in the PDF: what changes, and what the change does."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.explain.explanation import Counterfactual, Explanation, Probabilities, Seen, Volumes
from otherwise.images.image import Image
from otherwise.report import value_words, words
from otherwise.report.headline import ShownChange, headline_change, other_change, part_name
from otherwise.report.panels import WEAK, ColourBar, FigurePanel, Panels


@dataclass(frozen=True)
class Card:
    """A titled picture (in 3-D: one of each plane) with a sentence.

    Attributes:
        ends: What the two ends of the colour bar mean.
    """

    title: str
    text: str
    panels: tuple[FigurePanel, ...]
    bar: ColourBar | None = None
    ends: tuple[str, str] = ("", "")


def cards(explanation: Explanation, panels: Panels) -> list[Card]:
    """Return the cards: the original, the change named in the headline, its effect, and the other change."""
    original, shown, other = explanation.volumes.original, headline_change(explanation), other_change(explanation)
    prediction = explanation.prediction
    found = [
        Card("Original", class_answers(prediction.probabilities, explanation), panels.image(original, "Original")),
        _changed(shown, explanation, panels),
        *_deformation_card(explanation, panels),
        Card(
            f"{shown.title} minus original",
            "In the image's units. Grey: below the reconstruction floor, no evidence.",
            panels.change(change_of(shown.image, explanation.volumes), f"{shown.title} minus original"),
            panels.change_bar,
            ("darker", "brighter"),
        ),
        Card(
            "Measured effect",
            f"Change of the {value_words.measured(explanation)} by each voxel of the full change, measured by changing "
            f"one place at a time and by leaving one out. Grey: below {WEAK:.0%} of the strongest.",
            panels.effect("Measured effect over the original"),
            panels.effect_bar,
            ("against", "towards"),
        ),
        Card(
            "Decisive regions",
            "Outlined on the original; 1 is the strongest." if explanation.regions else "No region decides on its own.",
            panels.image(original, "Original with the decisive regions outlined", outlined=True),
        ),
        *([_changed(other, explanation, panels)] if other else []),
    ]
    where = _place_card(explanation, panels)
    return [*([where] if where else []), *found]


def _changed(shown: ShownChange, explanation: Explanation, panels: Panels) -> Card:
    pictures = panels.image(shown.image, shown.title, outlined=shown.minimal)
    return Card(shown.title, change_sentence(shown.found, explanation), pictures)


def _deformation_card(explanation: Explanation, panels: Panels) -> list[Card]:
    """Return how a grid of the original lies in the deformed image; nothing of a change that was drawn."""
    done, field, made = explanation.deformation, explanation.displacement, explanation.volumes.counterfactual
    if done is None or field is None:
        return []
    text = (
        f"The lines are those of a regular grid in the original. They move by up to {done.furthest:.2g} {made.unit}: "
        "where they lie closer together, the image has shrunk."
    )
    return [Card("Deformation", text, panels.deformed(made, field, "Deformed image with the lines of a grid"))]


def _place_card(explanation: Explanation, panels: Panels) -> Card | None:
    """Return the larger image with the patch outlined, and what the whole is called; None of a whole image."""
    place = explanation.place
    if place is None or place.patch_low is None or explanation.overview is None:
        return None
    before, after = (_whole_answer(answers, explanation) for answers in (place.before, place.after))
    text = f"By its most suspicious patch the whole image is {before}; with the outlined patch changed, {after}."
    return Card("The patch in the whole image", text, panels.overview(explanation.overview, place))


def _whole_answer(probabilities: Probabilities, explanation: Explanation) -> str:
    """Return what a larger image is called with its probability; of a value that, with its unit."""
    if explanation.value is not None:
        return value_words.of_whole(explanation.value, probabilities)
    return words.with_probability(max(probabilities, key=lambda name: probabilities[name]), probabilities)


def seen_card(explanation: Explanation, panels: Panels) -> Card | None:
    """Return what the classifier saw of the original, with what was cut off; None where it was not kept."""
    seen = explanation.seen
    if seen is None:
        return None
    low, high = seen.window
    clipped = f"{words.share(seen.below)} of the voxels are darker, {words.share(seen.above)} brighter"
    text = f"{seen_size(seen)}, black at {low:.4g} and white at {high:.4g}; {clipped}."
    return Card("As the classifier sees it", text, panels.seen(seen.image))


def seen_size(seen: Seen) -> str:
    """Return the size of the classifier's input."""
    return " × ".join(str(edge) for edge in seen.image.geometry.shape[: seen.image.dimension]) + " voxels"


def alternative_sentence(found: Counterfactual, explanation: Explanation) -> str:
    """Describe an alternative: the model's answer, and how the image changes."""
    if explanation.deformation is None:
        return change_sentence(found, explanation)
    return f"{class_answers(found.probabilities, explanation)}. Deformed more evenly."


def change_sentence(found: Counterfactual, explanation: Explanation) -> str:
    """Return what the model says of a changed image, and how much of it changed."""
    kept = "the model keeps its answer" if explanation.value is None else "the target is not reached"
    unchanged = "" if found.valid else f"; {kept}"
    changed = f"{words.share(found.changed_fraction)} of the {part_name(explanation)} changed"
    if (done := explanation.deformation) is not None:
        size = "area" if explanation.volumes.original.dimension == 2 else "volume"
        changed = f"Places have {done.least_growth:.2f} to {done.greatest_growth:.2f} times their {size}"
    return f"{class_answers(found.probabilities, explanation)}{unchanged}. {changed}."


def class_answers(probabilities: Probabilities, explanation: Explanation) -> str:
    """Return the probabilities of the first answer and of the target; of a value that, with its unit."""
    if explanation.value is not None:
        return value_words.answer_in_words(explanation, probabilities)
    names = dict.fromkeys((explanation.prediction.label, explanation.target))
    return ", ".join(f"{name} {words.probability(probabilities[name])}" for name in names if name in probabilities)


def change_of(image: Image, volumes: Volumes) -> Image:
    """Return an image minus the original; on a coarser grid the path begins with the original."""
    original = volumes.original if image.geometry.same_as(volumes.original.geometry) else volumes.path[0]
    return image.with_array(image.array.astype("float32") - original.array.astype("float32"))
