"""Compare a hosted classifier with the user's own pipeline, and find the cause of a difference.

Where answers differ, common causes (suspects) are tried one by one, then in pairs. The one that explains the difference
is reported with the option that corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.special import softmax

from otherwise.blackbox.answers import predict_views
from otherwise.blackbox.checks.expected import Expected
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.output_kind import SURVIVAL, OutputKind, output_kind
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.blackbox.survival import READINGS
from otherwise.blackbox.tensor import AXES, IMAGENET
from otherwise.blackbox.view import show, view
from otherwise.errors import ClassifierError, OtherwiseError
from otherwise.images.image import Image
from otherwise.images.kernels import KERNELS

SAME = 1e-4
"""Largest difference of probabilities that counts as the same; of values, as a share of their spread."""
EXPLAINED = 0.1
"""A suspect explains a difference if it leaves at most this share of it."""
MOST_TRIED = 12
"""Number of images on which suspects are tried: those that differ most."""
FEWEST_FOR_A_LINE = 4
"""Fewest values that a straight line can be said to explain."""

ACTIVATIONS = (("probabilities", "none"), ("logits", "softmax"), ("sigmoid-logits", "sigmoid"))
"""Options of the import for what a network returns, and what then makes probabilities of it."""

Change = Callable[[ClassifierSpec], ClassifierSpec]


@dataclass(frozen=True)
class Suspect:
    """A common cause of different answers.

    Attributes:
        name: Display name.
        option: Option of the import that corrects it; empty: correct the other pipeline.
        change: Returns the same classifier with this change.
    """

    name: str
    option: str
    change: Change


SECOND_SOFTMAX = Suspect("a second softmax in the other pipeline, of probabilities", "", lambda spec: spec)


@dataclass(frozen=True)
class Parity:
    """Comparison of a model's answers with the expected ones.

    Attributes:
        largest: Largest difference of a probability or, in its unit, of a value.
        mean: Mean difference.
        agreement: Share of the images with the same class; of values, with one within the model's tolerance.
        suspect: Cause of the difference; None if no suspect explains it, or there is no difference.
        left: Largest difference that remains with the suspect's change, on the images tried.
        auc: Area under the curve of the last class, hosted and expected; None without true classes.
        limit: Largest difference that counts as the same.
    """

    largest: float
    mean: float
    agreement: float
    suspect: Suspect | None = None
    left: float = 0.0
    auc: tuple[float, float] | None = None
    limit: float = SAME

    @property
    def same(self) -> bool:
        """Return whether the answers are the same."""
        return self.largest <= self.limit


def compare(
    classifier: BlackBox, images: Sequence[Image], expected: Expected, slice_index: int | None = None
) -> Parity:
    """Compare answers, and look for the cause of a difference.

    Args:
        classifier: The loaded classifier.
        images: Images in the order of ``expected``.
        expected: Answers of the other pipeline.
        slice_index: For a 2-D classifier and volumes.

    Raises:
        ImageError: if an image does not suit the classifier.
    """
    kind = output_kind(classifier)
    answers = answers_of(classifier, images, slice_index)
    difference = np.abs(answers - expected.answers)
    if kind.is_value:
        agreement = float((difference <= kind.tolerance).mean())
        same = SAME * kind.spread
    else:
        agreement = float((answers.argmax(axis=1) == expected.answers.argmax(axis=1)).mean())
        same = SAME
    auc = _aucs(classifier.classes, answers, expected)
    found = Parity(float(difference.max()), float(difference.mean()), agreement, auc=auc, limit=same)
    if found.same:
        return found
    if kind.is_value:
        scaled = _other_scale(answers[:, 0], expected.answers[:, 0], same)
        if scaled is not None:
            return replace(found, suspect=scaled)
    elif not classifier.multi_label:
        left = float(np.abs(softmax(answers, axis=1) - expected.answers).max())
        if left <= same:
            return replace(found, suspect=SECOND_SOFTMAX, left=left)
    hosted = _hosted(classifier)
    if hosted is None or classifier.inputs.pipeline is not None:
        return found
    worst = np.argsort(-difference.max(axis=1))[:MOST_TRIED]
    some = [images[index] for index in worst]
    wanted = expected.answers[worst]

    def remaining(change: Change) -> float:
        return _difference(hosted, change, some, wanted, slice_index)

    suspects = list(usual_suspects(hosted.spec))
    tried = sorted(((remaining(each.change), number) for number, each in enumerate(suspects)))
    best, number = tried[0]
    suspect = suspects[number]
    if best > same:
        for (_, first), second in product(tried[:6], suspects):
            both = _together(suspects[first], second)
            left = remaining(both.change)
            if left < 0.5 * best:
                best, suspect = left, both
            if best <= same:
                break
    explains = best <= max(same, EXPLAINED * found.largest)
    return replace(found, suspect=suspect if explains else None, left=best)


def answers_of(classifier: BlackBox, images: Sequence[Image], slice_index: int | None = None) -> np.ndarray:
    """Return the probabilities of images, ``(images, classes)``, or their values ``(images, 1)`` in the unit.

    Raises:
        ImageError: if an image does not suit the classifier.
        ClassifierError: if the classifier fails for an image.
    """
    answers = predict_views(classifier, [view(image, classifier.inputs, slice_index).array for image in images])
    for image, answer in zip(images, answers, strict=True):
        if isinstance(answer, str):
            raise ClassifierError(f"It has no answer for image {image.id}: {answer}", "Leave the image out.")
    return _read(output_kind(classifier), np.array(answers, np.float64))


def _read(kind: OutputKind, answers: np.ndarray) -> np.ndarray:
    """Return probabilities as they are, and of a value model the values that they stand for."""
    return kind.value_of(answers)[:, None] if kind.is_value else answers


def _other_scale(answers: np.ndarray, expected: np.ndarray, same: float) -> Suspect | None:
    """Return another unit or zero of the other pipeline as the cause, where a straight line explains all values."""
    if len(answers) < FEWEST_FOR_A_LINE or np.ptp(answers) <= same:
        return None
    slope, shift = np.polyfit(answers, expected, 1)
    if slope == 0 or np.abs(slope * answers + shift - expected).max() > same * abs(slope):
        return None
    return Suspect(
        f"another unit or zero there, {slope:.4g} times the value here plus {shift:.4g}", "", lambda spec: spec
    )


def usual_suspects(spec: ClassifierSpec) -> Iterator[Suspect]:
    """Yield common differences to what the bundle declares."""
    inputs, tensor = spec.inputs, spec.tensor
    for axes in AXES[inputs.spatial_dims]:
        if axes != tensor.axes:
            yield Suspect("transposed axes", f"--axes {axes}", _tensor(axes=axes))
    now = inputs.orientation
    turns = ("LP", "RP", "LA", "RA") if inputs.spatial_dims == 2 else _turns()
    for turn in turns:
        if turn != (now or turns[0]):
            word = "flipped" if inputs.spatial_dims == 2 else "another orientation"
            yield Suspect(word, f"--orientation {turn}", _inputs(orientation=turn))
    if inputs.channels == 3:
        other = "BGR" if tensor.colours == "RGB" else "RGB"
        yield Suspect(f"{other} instead of {tensor.colours}", f"--colours {other}", _tensor(colours=other))
        yield Suspect(
            "ImageNet's mean and deviation",
            "--normalise imagenet",
            _tensor(mean=IMAGENET[0], deviation=IMAGENET[1], value_range=(0.0, 1.0), per_image="none"),
        )
    if tensor.mean is not None:
        yield Suspect("no mean and deviation", "--normalise none", _tensor(mean=None, deviation=None))
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if (low, high) != tensor.value_range:
            name = "not divided by 255" if high == 255 else f"a range of {low:g} to {high:g}"
            yield Suspect(name, f"--value-range={low:g},{high:g}", _tensor(value_range=(low, high)))
    for low, high in ((0.0, 1.0), (0.0, 255.0), (0.0, 4095.0), (0.0, 65535.0), (-1000.0, 400.0), (-1000.0, 1000.0)):
        if (low, high) != inputs.intensity:
            name = f"an intensity window of {low:g} to {high:g}"
            yield Suspect(name, f"--intensity={low:g},{high:g}", _inputs(intensity=(low, high), own_window=False))
    for kind in ("none", "z-score", "z-score-foreground", "min-max"):
        if kind != tensor.per_image:
            yield Suspect(f"normalisation of each image: {kind}", f"--normalise {kind}", _by_itself(kind))
    if spec.answer.kind == SURVIVAL:
        for reading in READINGS:
            if reading != spec.answer.reading:
                yield Suspect(
                    f"outputs read as {reading}",
                    f"--reading {reading}",
                    _spec(answer=replace(spec.answer, reading=reading)),
                )
    activations = () if spec.answer.is_value else ACTIVATIONS
    for output, activation in activations:
        if activation != spec.activation:
            name = "a second softmax or sigmoid" if activation == "none" else f"outputs read as {output}"
            yield Suspect(name, f"--output {output}", _spec(activation=activation))
    for kernel in KERNELS:
        if kernel != inputs.interpolation:
            yield Suspect(f"resized by {kernel}", f"--interpolation {kernel}", _inputs(interpolation=kernel))
    if inputs.spacing is None:
        for fit in ("stretch", "pad", "crop", "crop:256", "native"):
            if fit != inputs.fit:
                yield Suspect(f"field of view: {fit}", f"--field-of-view {fit}", _inputs(fit=fit))


def _turns() -> tuple[str, ...]:
    return tuple("".join(letters) for letters in product("LR", "PA", "SI"))


def _together(first: Suspect, second: Suspect) -> Suspect:
    def change(spec: ClassifierSpec) -> ClassifierSpec:
        return second.change(first.change(spec))

    return Suspect(f"{first.name}, and {second.name}", f"{first.option} {second.option}", change)


def _spec(**values: object) -> Change:
    return lambda spec: replace(spec, **values)  # type: ignore[arg-type]


def _inputs(**values: object) -> Change:
    return lambda spec: replace(spec, inputs=replace(spec.inputs, **values))  # type: ignore[arg-type]


def _tensor(**values: object) -> Change:
    return lambda spec: replace(spec, tensor=replace(spec.tensor, **values))  # type: ignore[arg-type]


def _by_itself(kind: str) -> Change:
    own = kind != "none"

    def change(spec: ClassifierSpec) -> ClassifierSpec:
        tensor = replace(spec.tensor, per_image=kind, mean=None, deviation=None, value_range=(0.0, 1.0))
        return replace(spec, tensor=tensor, inputs=replace(spec.inputs, own_window=own))

    return change


def _hosted(classifier: BlackBox) -> HostedClassifier | None:
    while not isinstance(classifier, HostedClassifier):
        inner = getattr(classifier, "inner", None)
        if inner is None:
            return None
        classifier = inner
    return classifier


def _difference(
    hosted: HostedClassifier, change: Change, images: Sequence[Image], wanted: np.ndarray, slice_index: int | None
) -> float:
    """Return the largest difference that remains with a change; infinite where the model fails."""
    try:
        other = HostedClassifier(change(hosted.spec), hosted.scores)
        outputs = other.predict(np.stack([show(image, other.inputs, slice_index) for image in images]))
        answers = _read(other.spec.answer, outputs)
    except (OtherwiseError, ValueError):
        return np.inf
    if answers.shape != wanted.shape or not np.isfinite(answers).all():
        return np.inf
    return float(np.abs(answers - wanted).max())


def _aucs(classes: Sequence[str], answers: np.ndarray, expected: Expected) -> tuple[float, float] | None:
    truth = np.array([label == classes[-1] for label in expected.truth])
    if not len(truth) or truth.all() or not truth.any():
        return None
    from sklearn.metrics import roc_auc_score

    hosted, own = (float(roc_auc_score(truth, each[:, -1])) for each in (answers, expected.answers))
    return hosted, own
