"""How well regions are named: beside a constant, the majority and nearest neighbours, with intervals by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from otherwise.annotations.vocabulary import Key, Term, Vocabulary
from otherwise.concepts.attributes import TISSUE
from otherwise.evaluation.teaching.readers import WORDS, RatedRegion

PRECISION = 0.8
"""Precision at which recall is read off."""
NODULE: Key = ("SCT", "27925004")
"""What the constant always says."""
RESAMPLES = 1000
"""Draws of patients for an interval."""
Prediction = Sequence[tuple[Term, float]]
"""Terms predicted for one region, with their confidence; empty: the model abstains."""


@dataclass(frozen=True, eq=False)
class ReaderRun:
    """Predictions for the regions of held-out patients after one reader's labels.

    Attributes:
        regions: Of the held-out patients.
        predictions: One for each region.
        chosen, given: What was labelled, and how; None: cannot tell.
        probabilities: Of every taught term, ``(regions,)``.
        lung_named: Share of the places of ordinary tissue that are called anything else.
        wrong, found, asked: Labels that are wrong, those of them that are asked about again, and all that are.
        kappa: Cohen's kappa of two readers, the mean over terms; None with one reader.
        warned: Whether it was noticed that labels have nothing to do with what regions look like.
    """

    regions: Sequence[RatedRegion]
    predictions: Sequence[Prediction]
    chosen: Sequence[RatedRegion]
    given: Sequence[Term | None]
    probabilities: Mapping[Term, np.ndarray]
    lung_named: float
    wrong: int = 0
    found: int = 0
    asked: int = 0
    kappa: float | None = None
    warned: bool = False


@dataclass(frozen=True)
class TeachingFigures:
    """Names at one number of labels, means over readers; regions count by their share of the decisive change.

    Intervals hold 95 % of 1,000 draws of the held-back patients with replacement.

    Attributes:
        labels: How many regions a reader labelled, on average.
        own: Share of the nodule regions with a word for which that word is predicted.
        own_interval: Of ``own``.
        right: Share of all regions for which something true and nothing wrong is predicted: of a nodule a true word or
            "nodule", of ordinary tissue nothing else.
        lift: ``right`` less the share for which "nodule", always, is right.
        lift_interval: Of ``lift``.
        majority, neighbours: Share of own words that the commonest word, and the word of the three nearest labelled
            regions, get. Both always answer.
        lung_named: Share of the places of ordinary tissue that are called anything else.
        calibration_error: Expected calibration error of the confidences, ten bins.
        recall: Recall of each word among nodules where its precision is 0.8.
        found_mistakes: Share of the wrong labels that are asked about again; None without wrong labels.
        asked_again: Labels asked about again.
        kappa: Of two readers; None with one.
        warned: Share of the readers whose labels are reported as unrelated to what regions look like.
    """

    labels: int
    own: float
    own_interval: tuple[float, float]
    right: float
    lift: float
    lift_interval: tuple[float, float]
    majority: float
    neighbours: float
    lung_named: float
    calibration_error: float
    recall: dict[str, float]
    found_mistakes: float | None
    asked_again: float
    kappa: float | None = None
    warned: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _ByPatient:
    """Sums of hits and of what could be hit, by patient: what intervals are drawn from."""

    hits: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)

    def add(self, region: RatedRegion, hit: float) -> None:
        self.hits[region.patient] = self.hits.get(region.patient, 0.0) + hit * region.share
        self.total[region.patient] = self.total.get(region.patient, 0.0) + region.share

    def mean(self) -> float:
        return sum(self.hits.values()) / max(sum(self.total.values()), 1e-12)

    def interval(self, rng: np.random.Generator) -> tuple[float, float]:
        hits, total = np.array(list(self.hits.values())), np.array(list(self.total.values()))
        if not len(hits):
            return 0.0, 0.0
        draws = rng.multinomial(len(hits), np.full(len(hits), 1 / len(hits)), RESAMPLES)
        low, high = np.quantile((draws @ hits) / np.maximum(draws @ total, 1e-12), [0.025, 0.975])
        return round(float(low), 3), round(float(high), 3)


def summarise(runs: Sequence[ReaderRun], vocabulary: Vocabulary, seed: int = 0) -> TeachingFigures:
    """Summarise several readers."""
    own, right, lift = _ByPatient(), _ByPatient(), _ByPatient()
    pairs, trivial = list[tuple[float, bool]](), list[tuple[float, float]]()
    for run in runs:
        for region, prediction in zip(run.regions, run.predictions, strict=True):
            nodule = TISSUE not in region.truth
            if nodule and region.own is not None:
                own.add(region, float(any(term == region.own for term, _ in prediction)))
            ok = is_right(region, prediction, vocabulary)
            right.add(region, float(ok))
            lift.add(region, float(ok) - float(nodule))
            pairs += [(sure, is_true(term, region, vocabulary)) for term, sure in prediction]
        trivial.append(_trivial(run))
    rng = np.random.default_rng(seed)
    wrong = sum(run.wrong for run in runs)
    kappas = [run.kappa for run in runs if run.kappa is not None]
    return TeachingFigures(
        labels=round(float(np.mean([len(run.chosen) for run in runs]))),
        own=round(own.mean(), 3),
        own_interval=own.interval(rng),
        right=round(right.mean(), 3),
        lift=round(lift.mean(), 3),
        lift_interval=lift.interval(rng),
        majority=round(float(np.mean([majority for majority, _ in trivial])), 3),
        neighbours=round(float(np.mean([near for _, near in trivial])), 3),
        lung_named=round(float(np.mean([run.lung_named for run in runs])), 3),
        calibration_error=round(calibration_error(pairs), 3),
        recall={word: round(float(np.mean([_recall(run, word, vocabulary) for run in runs])), 3) for word in WORDS},
        found_mistakes=round(sum(run.found for run in runs) / wrong, 3) if wrong else None,
        asked_again=round(float(np.mean([run.asked for run in runs])), 3),
        kappa=round(float(np.mean(kappas)), 3) if kappas else None,
        warned=round(float(np.mean([run.warned for run in runs])), 3),
    )


def table(figures: Mapping[str, Sequence[TeachingFigures]]) -> str:
    """Return a Markdown table: a line for each kind of reader and number of labels."""
    lines = [
        "| reader, labels | own word | majority; 3 nearest neighbours | right | lift over the constant | "
        "plain lung named | calibration error | recall at precision 0.8: calcified, ground glass, spiculated | "
        "wrong labels found; asked again | kappa | said to be incoherent |",
        "|---" * 11 + "|",
    ]
    for name, rows in figures.items():
        for row in rows:
            recall = ", ".join(f"{row.recall[word]:.2f}" for word in ("calcified", "ground glass", "spiculated"))
            found = "-" if row.found_mistakes is None else f"{row.found_mistakes:.2f}"
            kappa = "-" if row.kappa is None else f"{row.kappa:.2f}"
            lines.append(
                f"| {name}, {row.labels} | {row.own:.2f} ({_between(row.own_interval)}) | "
                f"{row.majority:.2f}; {row.neighbours:.2f} | {row.right:.2f} | "
                f"{row.lift:+.3f} ({_between(row.lift_interval)}) | {row.lung_named:.3f} | "
                f"{row.calibration_error:.3f} | {recall} | "
                f"{found}; {row.asked_again:.1f} | {kappa} | {row.warned:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _between(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.2f} to {high:.2f}"


def is_true(term: Term, region: RatedRegion, vocabulary: Vocabulary) -> bool:
    """Return whether a term holds of a region: one of its words, what these are kinds of, or "nodule"."""
    if TISSUE in region.truth:
        return term == TISSUE
    return term.key == NODULE or any(vocabulary.is_a(true, term) for true in region.truth)


def is_right(region: RatedRegion, prediction: Prediction, vocabulary: Vocabulary) -> bool:
    """Return whether a prediction is right; an empty one is right for ordinary tissue only."""
    return (bool(prediction) or TISSUE in region.truth) and all(
        is_true(term, region, vocabulary) for term, _ in prediction
    )


def _trivial(run: ReaderRun) -> tuple[float, float]:
    """Return the share of own words that the majority, and the nearest neighbours, get."""
    known = [(region.description, word) for region, word in zip(run.chosen, run.given, strict=True) if word is not None]
    test = [region for region in run.regions if region.own is not None and TISSUE not in region.truth]
    words = [word for _, word in known]
    of_nodules = [word for word in words if word != TISSUE]
    if not of_nodules or not test:
        return 0.0, 0.0
    common = max(dict.fromkeys(of_nodules), key=of_nodules.count)
    labelled = np.stack([description for description, _ in known])
    scale = labelled.std(0) + 1e-6
    asked = np.stack([region.description for region in test])
    order = np.argsort(np.square(asked[:, None] / scale - labelled[None] / scale).mean(2), axis=1)[:, :3]
    guesses = [max(row, key=row.count) for row in ([words[n] for n in near] for near in order)]
    shares = [region.share for region in test]
    majority = np.average([region.own == common for region in test], weights=shares)
    near = np.average([region.own == guess for region, guess in zip(test, guesses, strict=True)], weights=shares)
    return float(majority), float(near)


def _recall(run: ReaderRun, word: str, vocabulary: Vocabulary) -> float:
    """Return the recall of a word; a reader who never met it recalls nothing of it."""
    term = vocabulary.find(*WORDS[word][0])
    if term not in run.probabilities:
        return 0.0
    nodules = [n for n, region in enumerate(run.regions) if TISSUE not in region.truth]
    truth = [term in run.regions[n].truth for n in nodules]
    return recall_at(run.probabilities[term][nodules].tolist(), truth) or 0.0


def recall_at(values: Sequence[float], truth: Sequence[bool], precision: float = PRECISION) -> float | None:
    """Return the greatest recall at which the precision is at least ``precision``; None where it never is."""
    order = np.argsort(-np.asarray(values), kind="stable")
    hits = np.cumsum(np.asarray(truth, float)[order])
    if not len(hits) or not hits[-1]:
        return None
    reached = hits / np.arange(1, len(hits) + 1) >= precision
    return float((hits[reached] / hits[-1]).max()) if reached.any() else None


def calibration_error(pairs: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error of (confidence, right) pairs (Naeini et al., AAAI 2015); 0 of none."""
    if not pairs:
        return 0.0
    values, truth = (np.array(each, float) for each in zip(*pairs, strict=True))
    place = np.minimum((values * bins).astype(int), bins - 1)
    parts = [(place == n) for n in range(bins)]
    return float(sum(part.mean() * abs(values[part].mean() - truth[part].mean()) for part in parts if part.any()))
