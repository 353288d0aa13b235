"""Accuracy of findings on real nodules, by patient, beside a constant, the majority and nearest neighbours.

A simulated reader names the nodules of some patients, in random order; findings are predicted for nodules of other
patients and for ordinary tissue. The reader's terms are LIDC's consensus ratings; they may be wrong or missing on
purpose. The control has shuffled labels: all its right answers are chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import AttributeModel, LabelledRegion, fit_attributes
from otherwise.concepts.description import describe_region
from otherwise.concepts.label_quality import doubtful_labels
from otherwise.datasets.lidc import all_nodules, ratings
from otherwise.errors import ImageError
from otherwise.images.reading import image_name, read_image

FOLDS = 5
TISSUE_EVERY = 9
"""One place of ordinary tissue is tested for so many nodules, as in the decisive regions of explanations."""
PRECISION = 0.8
"""Precision at which recall is read off."""
WORDS: Mapping[str, tuple[tuple[str, str], Callable[[Mapping[str, int]], bool]]] = {
    "spiculated": (("DCM", "112136"), lambda rated: rated["Spiculation"] >= 4),
    "lobulated": (("DCM", "112135"), lambda rated: rated["Lobulation"] >= 4),
    "calcified": (("99OTHERWISE", "nodule-calc"), lambda rated: rated["Calcification"] < 6),
    "ground glass": (("DCM", "112120"), lambda rated: rated["Texture"] <= 2),
    "poorly defined": (("SCT", "300841009"), lambda rated: rated["Margin"] <= 2),
    "well defined": (("SCT", "260409000"), lambda rated: rated["Margin"] >= 4),
}
"""A reader's words in the order in which they stand out, and when they are true."""


@dataclass(frozen=True, eq=False)
class RatedRegion:
    """A nodule with its ratings, or a place of ordinary tissue.

    Attributes:
        patient: Whose.
        description: See ``describe_region``.
        truth: Every word that is true of it; empty for tissue.
        own: The word that stands out most, which a reader gives; None for tissue.
    """

    patient: str
    description: np.ndarray
    truth: frozenset[Term]
    own: Term | None


@dataclass(frozen=True)
class ReaderKind:
    """How a simulated reader answers.

    Attributes:
        mistakes: Share of the answers that are another word, chosen at random.
        doubts: Share of the answers that are "cannot tell".
        shuffled: Whether the answers are shuffled among the regions: a control.
    """

    mistakes: float = 0.0
    doubts: float = 0.0
    shuffled: bool = False


def rated_regions(
    folder: Path, vocabulary: Vocabulary, seed: int = 0, progress: Callable[[float], None] = lambda fraction: None
) -> tuple[list[RatedRegion], list[RatedRegion]]:
    """Describe every nodule of a folder, and a place of ordinary tissue beside each where there is room.

    Returns:
        Nodules and tissue.

    Raises:
        ImageError: if the folder holds no nodule, or its table is damaged.
    """
    rated, listed = ratings(folder), [n for n in all_nodules(folder) if (folder / "image" / n.file).is_file()]
    if not listed:
        raise ImageError(f"There is no nodule in {folder.name}.", "Give the folder with nodules.csv, image/ and mask/.")
    rng = np.random.default_rng(seed)
    nodules, tissue = [], []
    for number, nodule in enumerate(listed):
        progress(number / len(listed))
        image, mask = (read_image(folder / kind / nodule.file) for kind in ("image", "mask"))
        inside = mask.array[0] > 0
        if not inside.any():
            continue
        words = rated[image_name(Path(nodule.file))]
        truth = [vocabulary.find(*key) for key, holds in WORDS.values() if holds(words)]
        own = truth[0] if truth else None
        nodules.append(RatedRegion(nodule.patient, describe_region(image, inside), frozenset(truth), own))
        place = _tissue_beside(inside, np.asarray(image.geometry.spacing), rng)
        if place is not None:
            tissue.append(RatedRegion(nodule.patient, describe_region(image, place), frozenset(), None))
    return nodules, tissue


def _tissue_beside(mask: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Move a nodule's shape to a random place that keeps clear of the nodule; None where there is no room."""
    clear = ndimage.distance_transform_edt(~mask, sampling=spacing) > 2.0
    places = np.argwhere(mask)
    low, high = -places.min(0), np.array(mask.shape) - 1 - places.max(0)
    for _ in range(64):
        moved = places + rng.integers(low, high + 1)
        if clear[tuple(moved.T)].all():
            made = np.zeros_like(mask)
            made[tuple(moved.T)] = True
            return made
    return None


@dataclass(frozen=True)
class AttributeFigures:
    """Findings at one number of labels, means over readers; intervals are the 95 % quantiles over readers.

    Attributes:
        labels: How many regions the reader named.
        own: Share of the nodules with a term for which that term is found.
        own_interval: Of ``own``.
        right: Share of all regions without a wrong finding: every finding is true, "nodule" is said of nodules
            only, and "ordinary tissue" of tissue only.
        lift: ``right`` less the share for which "nodule" alone, always, is right.
        lift_interval: Of ``lift``.
        majority, neighbours: The share of own words that the commonest word, and the word of the three nearest
            labelled regions, get.
        tissue_called_nodule: Share of the places of tissue that are called a nodule, or anything else.
        calibration_error: Expected calibration error of the findings' confidences, ten bins.
        recall: Recall of each word where its precision is 0.8, by name; None where no threshold reaches that.
        found_mistakes: Share of the wrong labels that are asked about again; None without wrong labels.
        asked_again: Labels asked about again.
    """

    labels: int
    own: float
    own_interval: tuple[float, float]
    right: float
    lift: float
    lift_interval: tuple[float, float]
    majority: float
    neighbours: float
    tissue_called_nodule: float
    calibration_error: float
    recall: dict[str, float | None]
    found_mistakes: float | None
    asked_again: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_attributes(
    nodules: Sequence[RatedRegion],
    tissue: Sequence[RatedRegion],
    vocabulary: Vocabulary,
    labels: Sequence[int] = (5, 10, 20, 40),
    readers: int = 20,
    kind: ReaderKind | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[AttributeFigures]:
    """Let readers name nodules, and test on other patients'.

    Args:
        nodules: All nodules.
        tissue: Places of ordinary tissue of the same patients.
        vocabulary: Terms and their axes.
        labels: How many regions are named; a number beyond those there are means all.
        readers: How many, each of another fold and order.
        kind: How they answer; None: always right and sure.
        seed: Of folds, orders and mistakes.
        progress: Called with the share done.
    """
    kind = kind or ReaderKind()
    rng = np.random.default_rng(seed)
    patients = sorted({region.patient for region in nodules})
    fold_of = dict(zip(patients, rng.permutation(np.arange(len(patients)) % FOLDS), strict=True))
    figures = []
    for step, count in enumerate(labels):
        runs, named = [], list[int]()
        for reader in range(readers):
            fold = reader % FOLDS
            draw = np.random.default_rng([seed, reader])
            pool = [r for r in nodules if fold_of[r.patient] != fold and r.own is not None]
            seeds = [r for r in tissue if fold_of[r.patient] != fold]
            chosen = [pool[n] for n in draw.permutation(len(pool))[:count]]
            named.append(len(chosen))
            test = [r for r in nodules if fold_of[r.patient] == fold and r.own is not None]
            places = [r for r in tissue if fold_of[r.patient] == fold]
            runs.append(_one_reader(chosen, seeds, test, places, vocabulary, kind, draw))
            progress((step * readers + reader + 1) / (len(labels) * readers))
        figures.append(_summary(round(float(np.mean(named))), runs))
    return figures


def _one_reader(
    chosen: Sequence[RatedRegion],
    seeds: Sequence[RatedRegion],
    nodules: Sequence[RatedRegion],
    tissue: Sequence[RatedRegion],
    vocabulary: Vocabulary,
    kind: ReaderKind,
    draw: np.random.Generator,
) -> dict[str, object]:
    words = [vocabulary.find(*key) for key, _ in WORDS.values()]
    said = _answers(chosen, words, kind, draw)
    regions = [
        LabelledRegion(region.description, unknown=frozenset(words))
        if word is None
        else LabelledRegion(region.description, present=frozenset([word]))
        for region, word in zip(chosen, said, strict=True)
    ]
    doubtful = {each.region for each in doubtful_labels(regions, vocabulary)}
    wrong = {n for n, (r, w) in enumerate(zip(chosen, said, strict=True)) if w is not None and w not in r.truth}
    outside = np.stack([region.description for region in seeds[:400]])
    model = fit_attributes(regions, vocabulary, outside, int(draw.integers(2**31)))
    return {
        **_told(model, nodules, tissue),
        **_trivial(chosen, said, nodules),
        "probabilities": _by_word(model, nodules),
        "wrong": len(wrong),
        "found": len(wrong & doubtful),
        "asked": len(doubtful),
    }


def _answers(
    chosen: Sequence[RatedRegion], words: Sequence[Term], kind: ReaderKind, draw: np.random.Generator
) -> list[Term | None]:
    said: list[Term | None] = []
    for region in chosen:
        chance = draw.random()
        if chance < kind.mistakes:
            others = [word for word in words if word not in region.truth]
            said.append(others[draw.integers(len(others))])
        else:
            said.append(None if chance < kind.mistakes + kind.doubts else region.own)
    return [said[n] for n in draw.permutation(len(said))] if kind.shuffled else said


def _told(model: AttributeModel, nodules: Sequence[RatedRegion], tissue: Sequence[RatedRegion]) -> dict[str, object]:
    described = np.stack([region.description for region in nodules])
    found_in, silent = model.findings(described), model.is_tissue(described)
    own = [region.own in [f.term for f in found] for region, found in zip(nodules, found_in, strict=True)]
    right = [
        not nothing and all(f.term in region.truth for f in found)
        for region, found, nothing in zip(nodules, found_in, silent, strict=True)
    ]
    pairs = [(f.confidence, f.term in r.truth) for r, found in zip(nodules, found_in, strict=True) for f in found]
    places = np.stack([region.description for region in tissue])
    called = ~model.is_tissue(places)
    # All places of tissue are used, with a weight that keeps their ratio to the nodules.
    weight = len(nodules) / TISSUE_EVERY
    share = (sum(right) + weight * float(1 - called.mean())) / (len(nodules) + weight)
    constant = len(nodules) / (len(nodules) + weight)
    return {"own": np.mean(own), "right": share, "lift": share - constant, "called": called.mean(), "pairs": pairs}


def _trivial(
    chosen: Sequence[RatedRegion], said: Sequence[Term | None], nodules: Sequence[RatedRegion]
) -> dict[str, object]:
    known = [(region.description, word) for region, word in zip(chosen, said, strict=True) if word is not None]
    if not known:
        return {"majority": 0.0, "neighbours": 0.0}
    counted = [word for _, word in known]
    common = max(dict.fromkeys(counted), key=counted.count)
    own = np.stack([description for description, _ in known])
    scale = own.std(0) + 1e-6
    test = np.stack([region.description for region in nodules])
    order = np.argsort(np.square(test[:, None] / scale - own[None] / scale).mean(2), axis=1)[:, :3]
    words = [[counted[n] for n in row] for row in order]
    guesses = [max(row, key=row.count) for row in words]
    return {
        "majority": np.mean([region.own == common for region in nodules]),
        "neighbours": np.mean([region.own == guess for region, guess in zip(nodules, guesses, strict=True)]),
    }


def _by_word(model: AttributeModel, nodules: Sequence[RatedRegion]) -> dict[str, tuple[list[float], list[bool]]]:
    described = np.stack([region.description for region in nodules])
    found = {}
    for term, values in model.probabilities(described).items():
        name = next((word for word, (key, _) in WORDS.items() if key == term.key), None)
        if name is None:  # what several words are kinds of
            continue
        found[name] = (values.tolist(), [term in region.truth for region in nodules])
    return found


def _summary(count: int, runs: Sequence[Mapping]) -> AttributeFigures:
    def interval(name: str) -> tuple[float, float]:
        low, high = np.quantile([run[name] for run in runs], [0.025, 0.975])
        return round(float(low), 3), round(float(high), 3)

    def mean(name: str) -> float:
        return round(float(np.mean([run[name] for run in runs])), 3)

    pairs = [pair for run in runs for pair in run["pairs"]]
    wrong = sum(run["wrong"] for run in runs)
    recall: dict[str, float | None] = {}
    for word in WORDS:
        each = [recall_at(*run["probabilities"][word]) for run in runs if word in run["probabilities"]]
        # A reader who never met the word recalls nothing of it.
        values = [value or 0.0 for value in each] + [0.0] * (len(runs) - len(each))
        recall[word] = round(float(np.mean(values)), 3)
    return AttributeFigures(
        labels=count,
        own=mean("own"),
        own_interval=interval("own"),
        right=mean("right"),
        lift=mean("lift"),
        lift_interval=interval("lift"),
        majority=mean("majority"),
        neighbours=mean("neighbours"),
        tissue_called_nodule=mean("called"),
        calibration_error=round(calibration_error(pairs), 3),
        recall=recall,
        found_mistakes=round(sum(run["found"] for run in runs) / wrong, 3) if wrong else None,
        asked_again=mean("asked"),
    )


def recall_at(values: Sequence[float], truth: Sequence[bool], precision: float = PRECISION) -> float | None:
    """Return the greatest recall at which the precision is at least ``precision``; None where it never is."""
    order = np.argsort(-np.asarray(values), kind="stable")
    hits = np.cumsum(np.asarray(truth, float)[order])
    if not len(hits) or not hits[-1]:
        return None
    good = hits / np.arange(1, len(hits) + 1) >= precision
    return float(hits[good].max() / hits[-1]) if good.any() else None


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error of (confidence, right) pairs (Naeini et al., AAAI 2015); 0 of none."""
    if not pairs:
        return 0.0
    confidence, right = (np.asarray(column, float) for column in zip(*pairs, strict=True))
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (place == n).mean() * abs(confidence[place == n].mean() - right[place == n].mean())
        for n in range(bins)
        if (place == n).any()
    ]
    return float(sum(gaps))
