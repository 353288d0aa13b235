"""Classify many images, one row for each, errors included; write the rows as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.output_kind import output_kind
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import view, warnings_of
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage
from otherwise.images.reading import read_image
from otherwise.warning import AnswerWarning

NAMES = ("id", "path")
BATCH = 16
"""Images in one batch."""


@dataclass(frozen=True)
class Answer:
    """The classifier's answer for one image.

    Attributes:
        id: ID of the image in its listing.
        path: Its place within the source.
        label: The predicted class; empty where there is no answer.
        probabilities: Of each class; empty where there is no answer.
        warnings: Reasons to doubt the answer.
        error: Why there is no answer; empty where there is one.
        value: Of a model that says a value: that, in ``unit``; else None.
        unit: Its unit.
    """

    id: str
    path: str
    label: str
    probabilities: Mapping[str, float]
    warnings: tuple[AnswerWarning, ...] = ()
    error: str = ""
    value: float | None = None
    unit: str = ""


def classify_images(
    classifier: BlackBox,
    images: Sequence[FoundImage],
    *,
    slice_index: int | None = None,
    prepare: Callable[[Image], Image] = lambda image: image,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Answer]:
    """Classify images in batches. An image that cannot be read or classified has an answer with the error.

    Args:
        classifier: Looks at whole images.
        images: Images of a listing.
        slice_index: For a 2-D classifier and volumes: which slice.
        prepare: Applied to each image first, such as a projection.
        progress: Called with the number of images done and the total.
    """
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        seen: list[tuple[np.ndarray, tuple[AnswerWarning, ...]] | str] = []
        for found in part:
            try:
                image = prepare(read_image(found))
                shown = view(image, classifier.inputs, slice_index)
                warnings = warnings_of(image, classifier.inputs, shown)
                seen.append((shown.array, warnings))
            except OtherwiseError as error:
                seen.append(str(error))
        predicted = iter(predict_views(classifier, [each[0] for each in seen if not isinstance(each, str)]))
        for found, each in zip(part, seen, strict=True):
            answer = each if isinstance(each, str) else next(predicted)
            if isinstance(answer, str):
                yield Answer(found.id, found.name, "", {}, error=answer)
            else:
                yield answer_of(classifier, found, answer, each[1] if not isinstance(each, str) else ())
        progress(start + len(part), len(images))


def predict_views(classifier: BlackBox, views: Sequence[np.ndarray]) -> list[np.ndarray | str]:
    """Classify views; those of the same size form a batch.

    Args:
        classifier: Takes views of these sizes.
        views: ``(channels, *size)`` each.

    Returns:
        For each view its probabilities ``(classes,)``, or the error.
    """
    answers: list[np.ndarray | str] = [""] * len(views)
    for shape in dict.fromkeys(each.shape for each in views):
        places = [place for place, each in enumerate(views) if each.shape == shape]
        try:
            predicted: Sequence[np.ndarray | str] = list(classifier.predict(np.stack([views[n] for n in places])))
        except OtherwiseError as error:
            if len(places) > 1:  # perhaps only one of them is at fault
                predicted = [predict_views(classifier, [views[place]])[0] for place in places]
            else:
                predicted = [str(error)]
        for place, answer in zip(places, predicted, strict=True):
            answers[place] = answer
    return answers


def answer_of(
    classifier: BlackBox, found: FoundImage, probabilities: np.ndarray, warnings: tuple[AnswerWarning, ...] = ()
) -> Answer:
    """Return probabilities ``(classes,)`` by class name, with the predicted class."""
    label = classifier.classes[DecisionRule.of(classifier).label(probabilities)]
    named = {name: float(value) for name, value in zip(classifier.classes, probabilities, strict=True)}
    kind = output_kind(classifier)
    value = float(kind.value_of(probabilities)) if kind.is_value else None
    return Answer(found.id, found.name, label, named, warnings, value=value, unit=kind.unit)


def write_answers(answers: Sequence[Answer], classes: Sequence[str], path: Path) -> None:
    """Write a CSV with the columns id, path, label, one for each class, warnings, error; whole or not at all.

    Of a model that says a value, ``value`` and ``unit`` take the place of the label and the classes.
    """
    valued = any(answer.value is not None for answer in answers)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*NAMES, *(["value", "unit"] if valued else ["label", *classes]), "warnings", "error"])
        for answer in answers:
            if valued:
                cells = ["" if answer.value is None else repr(answer.value), answer.unit]
            else:
                cells = [answer.label]
                cells += [repr(answer.probabilities[name]) if answer.probabilities else "" for name in classes]
            warned = " ".join(warning.text for warning in answer.warnings)
            table.writerow([answer.id, answer.path, *cells, warned, answer.error])
