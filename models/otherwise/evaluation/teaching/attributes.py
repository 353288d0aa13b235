"""How well findings of real nodules that readers outlined are predicted, by patient.

A simulated reader names the nodules of some patients, in random order. Findings are predicted for other patients'
nodules and for places of ordinary tissue. The control has its labels shuffled: whatever it seems to know is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import TISSUE, AttributeModel, LabelledRegion
from otherwise.concepts.description import describe_region
from otherwise.concepts.label_quality import agreement, fit_believed, judge_labels
from otherwise.datasets.lidc import all_nodules, ratings
from otherwise.errors import ImageError
from otherwise.evaluation.teaching.figures import Prediction, ReaderRun, TeachingFigures, summarise
from otherwise.evaluation.teaching.readers import RatedRegion, ReaderKind, answers, words_of
from otherwise.images.reading import image_name, read_image

FOLDS = 5
TISSUE_EVERY = 9
"""One place of ordinary tissue is tested for so many nodules."""
MOST_SEEDS = 400
"""Places of ordinary tissue that are learned from."""


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
        words = words_of(rated[image_name(Path(nodule.file))], vocabulary)
        own = words[0] if words else None
        nodules.append(RatedRegion(nodule.patient, describe_region(image, inside), frozenset(words), own))
        place = _tissue_beside(inside, np.asarray(image.geometry.spacing), rng)
        if place is not None:
            tissue.append(RatedRegion(nodule.patient, describe_region(image, place), frozenset([TISSUE]), TISSUE))
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


def folds_of(patients: Sequence[str], seed: int) -> dict[str, int]:
    """Divide patients among ``FOLDS`` folds."""
    each = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(np.arange(len(each)) % FOLDS)
    return dict(zip(each, order.tolist(), strict=True))


def measure_attributes(
    nodules: Sequence[RatedRegion],
    tissue: Sequence[RatedRegion],
    vocabulary: Vocabulary,
    labels: Sequence[int] = (5, 10, 20, 40),
    readers: int = 20,
    kind: ReaderKind | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[TeachingFigures]:
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
    fold_of = folds_of([region.patient for region in nodules], seed)
    figures = []
    for step, count in enumerate(labels):
        runs = []
        for reader in range(readers):
            fold, draw = reader % FOLDS, np.random.default_rng([seed, reader])
            pool = [r for r in nodules if fold_of[r.patient] != fold and r.own is not None]
            chosen = [pool[n] for n in draw.permutation(len(pool))[:count]]
            seeds = [r for r in tissue if fold_of[r.patient] != fold][:MOST_SEEDS]
            test = [r for r in nodules if fold_of[r.patient] == fold and r.own is not None]
            places = [r for r in tissue if fold_of[r.patient] == fold]
            runs.append(_one_reader(chosen, seeds, test, places, vocabulary, kind, draw))
            progress((step * readers + reader + 1) / (len(labels) * readers))
        figures.append(summarise(runs, vocabulary, seed))
    return figures


def _one_reader(
    chosen: Sequence[RatedRegion],
    seeds: Sequence[RatedRegion],
    nodules: Sequence[RatedRegion],
    tissue: Sequence[RatedRegion],
    vocabulary: Vocabulary,
    kind: ReaderKind,
    draw: np.random.Generator,
) -> ReaderRun:
    given = [answers(chosen, vocabulary, kind, draw) for _ in range(kind.readers)]
    owners = [(n, word) for words in given for n, word in enumerate(words) if word is not None]
    regions = [LabelledRegion(chosen[n].description, present=frozenset([word])) for n, word in owners]
    outside = np.stack([region.description for region in seeds])
    judgement = judge_labels(regions, vocabulary)
    model = fit_believed(regions, judgement, vocabulary, outside, int(draw.integers(2**31)))
    doubtful = {each.region for each in judgement.doubtful}
    wrong = {place for place, (n, word) in enumerate(owners) if word not in chosen[n].truth}
    # One place of tissue stands for so many nodules; all places are used, and weighed down.
    weight = len(nodules) / TISSUE_EVERY / max(len(tissue), 1)
    tested = [*nodules, *(replace(region, share=weight) for region in tissue)]
    described = np.stack([region.description for region in tested])
    predictions = predict(model, described)
    of_tissue = [names_more_than_tissue(each) for each in predictions[len(nodules) :]]
    return ReaderRun(
        regions=tested,
        predictions=predictions,
        chosen=chosen,
        given=given[0],
        probabilities=model.probabilities(described),
        lung_named=float(np.mean(of_tissue)) if of_tissue else 0.0,
        wrong=len(wrong),
        found=len(wrong & doubtful),
        asked=len(doubtful),
        kappa=kappa_of(given),
        warned=judgement.incoherent,
    )


def predict(model: AttributeModel, descriptions: np.ndarray) -> list[Prediction]:
    """Return what a model predicts for regions."""
    return [[(finding.term, finding.confidence) for finding in found] for found in model.findings(descriptions)]


def names_more_than_tissue(prediction: Prediction) -> bool:
    """Return whether anything but ordinary tissue is predicted."""
    return any(term != TISSUE for term, _ in prediction)


def kappa_of(given: Sequence[Sequence[Term | None]]) -> float | None:
    """Return Cohen's kappa of the first two readers where both answered, the mean over terms; None with one."""
    if len(given) < 2:
        return None
    both = [(one, other) for one, other in zip(*given[:2], strict=True) if one is not None and other is not None]
    found = agreement([[one] for one, _ in both], [[other] for _, other in both])
    return float(np.mean(list(found.values()))) if found else None
