"""How an explanation was made: the image, the models, when, and how long it took."""

from __future__ import annotations

from otherwise.explain.explanation import Explanation, Place
from otherwise.explain.value import ValueAnswer
from otherwise.report import value_words, words
from otherwise.report.cards import seen_size


def _place(place: Place | None, value: ValueAnswer | None) -> list[tuple[str, str]]:
    """Return where a find lies in the whole image, and what the whole is called with and without it."""
    if place is None:
        return []
    box = ", ".join(f"{a}–{b - 1}" for a, b in zip(place.low, place.high, strict=True))
    size = " × ".join(str(count) for count in place.shape)
    if value is None:
        before, after = (
            ", ".join(f"{name} {words.probability(each)}" for name, each in answer.items())
            for answer in (place.before, place.after)
        )
    else:
        before, after = (
            f"{value.kind.name} {value_words.of_whole(value, answer)}" for answer in (place.before, place.after)
        )
    return [
        ("Part of a larger image", f"voxels {box} of {size}"),
        ("Its most suspicious patch, before", before),
        ("Its most suspicious patch, after", after),
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
        *([("The classifier's input", f"{seen_size(seen)}, {seen.contract}")] if seen else []),
        *_place(explanation.place, explanation.value),
        ("Classifier", explanation.classifier.name),
        ("Classifier version", explanation.classifier.version),
        ("Agent", explanation.agent.name),
        ("Agent version", explanation.agent.version),
        *([("Agent drew in", explanation.precision)] if explanation.precision else []),
        ("Explanation", explanation.id),
        ("Made", words.moment(explanation.created)),
        ("Took", f"{words.duration(explanation.seconds)}, {explanation.queries} queries to the classifier"),
        ("Reconstruction error", f"{explanation.reconstruction_l1:.4f} of the intensity window (mean absolute)"),
        ("Counterfactual, mean change", f"{explanation.counterfactual.l1:.4f} of the intensity window"),
        *([("Counterfactual, realism", f"{realism:.2f}")] if realism is not None else []),
        ("Minimal, mean change", f"{explanation.minimal.l1:.4f} of the intensity window"),
    ]
