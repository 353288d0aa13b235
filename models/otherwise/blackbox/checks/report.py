"""Check whether a classifier can be hosted, and report in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otherwise.blackbox.bundle import short_version
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.description import describe_contract, describe_field
from otherwise.blackbox.importing import probe_images
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind, describe_kind, output_kind, with_unit
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.robustness import measure_robustness
from otherwise.blackbox.value_robustness import measure_value_robustness
from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage

SeenOf = Callable[[Image], list[np.ndarray]]
"""From an image to what the classifier is asked about, each ``(channels, *size)`` in [0, 1]."""
PatchesOf = Callable[[BlackBox], SeenOf]
LARGER = 1.25
"""An image that is larger than a patch by less is taken for one."""
CONSTANT = 1e-9
"""Probabilities that vary by less over images of many kinds do not depend on the image."""
BATCH_TOLERANCE = 1e-4
"""Largest change of a probability with other images in the batch, or at a second query."""
FEWEST_VALUES = 8
"""Least number of values for a median and a spread."""
MOST_IMAGES = 64
"""Most images of a folder that are used."""
DRAW_SEED = 0
"""Seed of their random choice where a folder holds more."""


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        topic: A word or two.
        state: ``ok``, ``warning`` or ``fault``.
        text: One sentence.
    """

    topic: str
    state: str
    text: str


@dataclass(frozen=True)
class CheckReport:
    """Results of all checks of a classifier.

    Attributes:
        reference: The classifier's folder or name.
        findings: In the order of the checks; the last one may be the fault that ended them.
    """

    reference: str
    findings: tuple[Finding, ...]

    @property
    def hostable(self) -> bool:
        """Return whether the classifier can be hosted."""
        return all(finding.state != "fault" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """Return the answer in one line."""
        faults = [finding.text for finding in self.findings if finding.state == "fault"]
        warnings = sum(finding.state == "warning" for finding in self.findings)
        if faults:
            return f"Can be hosted: no. {' '.join(faults)}"
        return "Can be hosted: yes" + (f", with {warnings} warning(s)." if warnings else ".")

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {
            "reference": self.reference,
            "hostable": self.hostable,
            "verdict": self.verdict,
            "findings": [vars(finding) for finding in self.findings],
        }


@dataclass(frozen=True)
class AnswerComparison:
    """What the answers are compared with, and where the inputs are shown.

    Attributes:
        expected: CSV with the answers of the user's own pipeline; see ``answers.read_expected``.
        page: HTML page to write; see ``seen_page``.
        slice_index: For a 2-D classifier and volumes.
    """

    expected: Path | None = None
    page: Path | None = None
    slice_index: int | None = None


def check_classifier(
    reference: str | Path,
    images: str | Path | None = None,
    *,
    device: str = "cpu",
    trust_code: bool = False,
    comparison: AnswerComparison | None = None,
    patches_of: PatchesOf | None = None,
) -> CheckReport:
    """Load a classifier, classify images, and report.

    Args:
        reference: A bundle's folder, or the name of a shipped bundle.
        images: Folder of images to classify; None: artificial images.
        device: Device of PyTorch.
        trust_code: Whether Python code that the bundle contains or names may be run.
        comparison: What to compare the answers with, and where to show what the network sees.
        patches_of: Makes the function that takes patches out of a whole image, for a classifier of patches; None: only
            the patch in the middle of each image is asked about.

    Returns:
        The report. A classifier that cannot be loaded or fails is a fault in it, not an exception.
    """
    findings: list[Finding] = []
    try:
        classifier = load_classifier(reference, device=device, trust_code=trust_code)
        findings += _describe(classifier)
        batch = probe_images(classifier.inputs)
        if images is not None:
            wanted = classifier.inputs.patches is not None and patches_of is not None
            seen = patches_of(classifier) if wanted and patches_of else _whole(classifier.inputs)
            batch, found = _read_folder(Path(images), seen)
            findings.append(found)
        findings += _answers(classifier, batch, real=images is not None)
        if images is not None:
            findings.append(_robustness(classifier, batch))
        if images is not None and comparison is not None and (comparison.expected or comparison.page):
            findings += _compared(classifier, Path(images), comparison)
    except OtherwiseError as error:
        findings.append(Finding(error.code, "fault", str(error)))
    return CheckReport(str(reference), tuple(findings))


def _describe(classifier: BlackBox) -> Iterable[Finding]:
    inputs = classifier.inputs
    low, high = inputs.intensity
    window = "each image's own window" if inputs.own_window else f"intensity {low:g} to {high:g}"
    kind = "each a yes or no of its own" if classifier.multi_label else "one of them for each image"
    gradients = "yes" if getattr(classifier, "module", None) is not None else "no (not needed)"
    yield Finding("model", "ok", f"{classifier.name} loads; version {short_version(classifier.version)}.")
    output = output_kind(classifier)
    if output.is_value:
        yield Finding(output.kind, "ok", f"{describe_kind(output)}.")
    else:
        yield Finding("classes", "ok", f"{len(classifier.classes)}: {', '.join(classifier.classes)}; {kind}.")
    yield Finding(
        "input",
        "ok",
        f"{inputs.modality}, {describe_field(inputs)}, {inputs.channels} channel(s), {window}.",
    )
    yield Finding("contract", "ok", describe_contract(classifier))
    yield Finding("gradients", "ok", f"{gradients}.")


def _answers(classifier: BlackBox, batch: np.ndarray, real: bool) -> Iterable[Finding]:
    classifier.predict(batch[:1])  # The first call may compile or allocate.
    started = time.perf_counter()
    answers = classifier.predict(batch)
    seconds = (time.perf_counter() - started) / len(batch)
    kind = output_kind(classifier)
    if kind.is_value:
        yield from _values(kind, kind.value_of(answers), real)
    else:
        yield from _probabilities(classifier, answers, real)
    if float(np.ptp(answers, axis=0).max()) < CONSTANT:
        yield Finding("constant", "warning", f"The same answer to all {len(batch)} images: does it look at them?")
    yield _alike("repeatable", answers, classifier.predict(batch), "Answers differ by {:.2g} when asked again.")
    alone = np.concatenate([classifier.predict(image[None]) for image in batch])
    yield _alike("batches", answers, alone, "An image's answer differs by {:.2g} alone and in a batch.")
    yield Finding("speed", "ok", f"{seconds * 1000:.2g} ms per image in a batch of {len(batch)}.")


def _probabilities(classifier: BlackBox, answers: np.ndarray, real: bool) -> Iterable[Finding]:
    """Describe answers ``(images, classes)``."""
    sums = answers.sum(axis=1)
    yield Finding(
        "answers",
        "ok",
        f"probabilities {answers.min():.4f} to {answers.max():.4f}, rows sum to {sums.min():.4f} to {sums.max():.4f}.",
    )
    chosen = DecisionRule.of(classifier).predicted(answers).sum(axis=0)
    shares = ", ".join(f"{label} {count}" for label, count in zip(classifier.classes, chosen, strict=True))
    one_sided = real and len(answers) > 4 and bool((chosen % len(answers) == 0).all())
    hint = " All the same: is the intensity window right?" if one_sided else ""
    yield Finding("choices", "warning" if one_sided else "ok", f"of {len(answers)} images: {shares}.{hint}")


def _values(kind: OutputKind, values: np.ndarray, real: bool) -> Iterable[Finding]:
    """Describe the distribution of a value; compare it with what the bundle declares."""
    quantiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
    lowest, lower, middle, upper, highest = (with_unit(float(value), kind.unit) for value in quantiles)
    yield Finding(
        "values",
        "ok",
        f"of {len(values)} images: {lowest} to {highest}, half of them {lower} to {upper}, median {middle}, "
        f"standard deviation {with_unit(float(values.std()), kind.unit)}.",
    )
    low, high = kind.range or (-np.inf, np.inf)
    outside = int(((values < low) | (values > high)).sum())
    if outside:
        yield Finding("range", "warning", f"{outside} of {len(values)} values lie outside of {low:g} to {high:g}.")
    shares = [kind.category_of(float(value)) for value in values]
    if kind.categories:
        counts = ", ".join(f"{name} {shares.count(name)}" for name, _ in kind.categories)
        yield Finding("categories", "ok", f"{counts}.")
    median, deviation = float(np.median(values)), float(values.std())
    near = abs(median - kind.reference) <= kind.spread / 2 and 0.5 <= deviation / kind.spread <= 2
    if real and len(values) >= FEWEST_VALUES and not near and deviation > 0:  # a constant is warned of by itself
        yield Finding(
            "reference",
            "warning",
            f"Declared are a median of {kind.reference:.4g} and a spread of {kind.spread:.4g}: import it again with "
            f"--reference {median:.4g} --spread {deviation:.4g} before an agent is trained.",
        )


def _compared(classifier: BlackBox, folder: Path, comparison: AnswerComparison) -> Iterable[Finding]:
    """Compare with expected answers, and write the page of the network's inputs."""
    from otherwise.blackbox.checks.expected import read_expected, read_expected_values
    from otherwise.blackbox.checks.parity import compare
    from otherwise.blackbox.checks.seen_page import MOST_SHOWN, write_seen_page
    from otherwise.images.listing import list_images
    from otherwise.images.reading import read_image

    kind = output_kind(classifier)
    listing = list_images(folder)
    chosen: Sequence[FoundImage] = listing.images[:MOST_SHOWN]
    expected = None
    if comparison.expected is not None:
        if kind.is_value:
            expected = read_expected_values(comparison.expected, kind, listing.images)
        else:
            expected = read_expected(comparison.expected, classifier.classes, listing.images)
        chosen = expected.images
    pictures = [read_image(found) for found in chosen]
    larger = [image for image in pictures if _larger_than_a_patch(image, classifier.inputs)]
    if larger:
        yield Finding(
            "patches",
            "warning",
            f"{len(larger)} of {len(pictures)} images are larger than a patch; the page, and the comparison with "
            "expected answers, take the patch in their middle. Give patches for these.",
        )
    if comparison.page is not None:
        write_seen_page(classifier, pictures, comparison.page, comparison.slice_index)
        yield Finding("page", "ok", f"{comparison.page} shows what the network sees.")
    if expected is None:
        return
    parity = compare(classifier, pictures, expected, comparison.slice_index)
    unit = f" {kind.unit}" if kind.is_value and kind.unit != "1" else ""
    alike = f"within {kind.tolerance:.3g}{unit}" if kind.is_value else "the same class"
    summary = (
        f"of {len(pictures)} images: largest difference {parity.largest:.2g}{unit}, mean {parity.mean:.2g}{unit}, "
        f"{alike} for {100 * parity.agreement:.0f} %."
    )
    if parity.auc is not None:
        summary += f" AUC {parity.auc[0]:.3f} here, {parity.auc[1]:.3f} expected."
    if parity.same:
        yield Finding("expected", "ok", summary)
    elif parity.suspect is not None:
        option = parity.suspect.option
        mended = f"import it again with {option}." if option else "leave it out there, and compare again."
        yield Finding(
            "expected",
            "fault",
            f"Other answers than expected; {summary} Explained by {parity.suspect.name} "
            f"(leaves {parity.left:.1g}{unit}): {mended}",
        )
    else:
        yield Finding(
            "expected", "fault", f"Other answers than expected; {summary} None of the usual suspects explains it."
        )


def _larger_than_a_patch(image: Image, inputs: InputSpec) -> bool:
    if inputs.patches is None or inputs.spacing is None:
        return False
    extent = np.array(image.geometry.shape) * image.geometry.spacing
    patch = np.array(inputs.size) * inputs.spacing
    return bool((extent[: len(patch)] > LARGER * patch).any())


def _robustness(classifier: BlackBox, batch: np.ndarray) -> Finding:
    kind = output_kind(classifier)
    if kind.is_value:
        moved = measure_value_robustness(classifier.predict, batch, kind)
        unit = "" if kind.unit == "1" else f" in {'percentage points' if kind.unit == '%' else kind.unit}"
        text = f"{moved.sentence} Median moves{unit}: {moved.table}."
        return Finding("robustness", "warning" if moved.goes_by_grain else "ok", text)
    found = measure_robustness(classifier.predict, batch, classifier.classes, rule=DecisionRule.of(classifier))
    text = f"{found.sentence} Share of changed answers: {found.table}."
    return Finding("robustness", "warning" if found.goes_by_grain else "ok", text)


def _alike(topic: str, first: np.ndarray, second: np.ndarray, fault: str) -> Finding:
    difference = float(np.abs(first - second).max())
    if difference > BATCH_TOLERANCE:
        return Finding(topic, "fault", fault.format(difference))
    return Finding(topic, "ok", f"largest difference {difference:.1g}.")


def _whole(inputs: InputSpec) -> SeenOf:
    from otherwise.blackbox.view import view

    return lambda image: [view(image, inputs).array]


def _read_folder(folder: Path, seen: SeenOf) -> tuple[np.ndarray, Finding]:
    from otherwise.images.listing import draw_images, list_images
    from otherwise.images.reading import read_image

    listing = list_images(folder)
    batch: list[np.ndarray] = []
    refused, images = "", 0
    for found in draw_images(listing.images, MOST_IMAGES, DRAW_SEED):
        try:
            batch += seen(read_image(found))
            images += 1
        except OtherwiseError as error:
            refused = refused or f" Skipped others, such as {found.name}: {error.detail}"
    if not batch:
        raise ImageError(f"{folder} holds no image that can be used.{refused}", "Give a folder of images.")
    sizes = [array.shape for array in batch]
    usual = max(sizes, key=sizes.count)  # one batch is of one size
    if sizes.count(usual) < len(sizes):
        other = len(sizes) - sizes.count(usual)
        refused += f" {other} of other sizes than {' x '.join(str(edge) for edge in usual[1:])} are left out here."
        batch = [array for array in batch if array.shape == usual]
    drawn = f", drawn at random (seed {DRAW_SEED})" if len(listing.images) > MOST_IMAGES else ""
    asked = f", {len(batch)} patches of them" if len(batch) > images else ""
    text = f"{images} read{drawn}{asked}, of {listing.summary}.{refused}"
    return np.stack(batch), Finding("images", "warning" if refused else "ok", text)
