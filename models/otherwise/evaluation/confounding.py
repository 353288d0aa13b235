"""What does a model's value follow: the outcome, or something that merely goes with it?

A covariate *confounds* a value where it goes with the outcome, and the value follows it even among images of the same
outcome. Everything is a concordance: of the pairs of images that differ in one thing, the share in which another thing
differs the same way. Between two groups it is the area under the ROC curve (Hanley & McNeil, Radiology 143:29, 1982);
0.5 is chance. Restricted to pairs of the same outcome or of the same covariate it is a stratified one. Intervals draw
patients, not images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 1000
"""Of patients, with replacement, for an interval."""
STRATA = 4
"""Most strata of a covariate; one with more distinct numbers is cut at its quantiles into so many."""
FEWEST = 5
"""Least number of patients on each side of a comparison; with fewer there is no figure."""


@dataclass(frozen=True)
class Concordance:
    """How well one thing follows another.

    Attributes:
        share: Of comparable pairs, in [0, 1]; ties count half.
        low: 2.5 % quantile over draws of patients.
        high: 97.5 % quantile.
    """

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Covariate:
    """A covariate beside a model's value and the outcome. A figure is None where the patients are too few.

    Attributes:
        name: Such as ``projection ap`` or ``day, higher``: what goes with a higher outcome.
        tells_outcome: How well the covariate alone tells the outcome, without any model.
        followed: How well the value tells the covariate.
        followed_within: The same among images of the same outcome.
        outcome_within: How well the value tells the outcome among images with the same covariate.
        patients: Number of patients for whom it is known.
        images: Number of their images.
    """

    name: str
    tells_outcome: Concordance
    followed: Concordance | None
    followed_within: Concordance | None
    outcome_within: Concordance | None
    patients: int
    images: int

    @property
    def confounds(self) -> bool:
        """Return whether it goes with the outcome and is followed at the same outcome, both beyond chance."""
        return self.tells_outcome.low > 0.5 and self.followed_within is not None and self.followed_within.low > 0.5


@dataclass(frozen=True)
class Confounding:
    """What a model's value follows.

    Attributes:
        outcome: How well the value tells the outcome; None where the patients are too few.
        covariates: Those that confound the value first; the most followed first among them.
    """

    outcome: Concordance | None
    covariates: tuple[Covariate, ...]


def find_confounders(
    values: np.ndarray,
    outcome: np.ndarray,
    columns: Mapping[str, Sequence[str]],
    patients: Sequence[str],
    by_patient: bool = False,
    seed: int = 0,
) -> Confounding:
    """Compare a model's values with an outcome and with covariates.

    Args:
        values: ``(n,)`` of the model, for images that it was not trained on.
        outcome: ``(n,)`` numbers.
        columns: Covariates: ``n`` texts each; empty where unknown. A column of numbers is compared by size; of other
            texts, each one that goes with the outcome is compared with all others. A column of one text alone is left
            out.
        patients: ``n`` names.
        by_patient: Compare the means of patients, not images.
        seed: Of the draws.
    """
    found = []
    for name, codes in _coded(columns).items():
        known = np.flatnonzero(~np.isnan(codes))
        if len(np.unique(codes[known])) < 2:
            continue
        names = [patients[index] for index in known]
        kept: tuple[np.ndarray, ...] = (codes[known], values[known], outcome[known])
        if by_patient:
            kept, names = _means(kept, names)
        covariate, value, true = kept
        alone = concordance(covariate, true, names, seed=seed)
        if alone is None:
            continue
        if alone.share < 0.5:
            if name in columns:  # a number: lower goes with the outcome
                covariate, name = -covariate, f"{name}, lower"
                alone = Concordance(1 - alone.share, 1 - alone.high, 1 - alone.low)
            else:  # another text of the same column goes with it
                continue
        elif name in columns:
            name = f"{name}, higher"
        found.append(
            Covariate(
                name,
                alone,
                concordance(value, covariate, names, seed=seed),
                concordance(value, covariate, names, true, seed),
                concordance(value, true, names, covariate, seed),
                len(set(names)),
                len(known),
            )
        )
    found.sort(key=lambda each: (not each.confounds, -(each.followed.share if each.followed else 0.0)))
    (value, true), names = _means((values, outcome), patients) if by_patient else ((values, outcome), list(patients))
    return Confounding(concordance(value, true, names, seed=seed), tuple(found))


def concordance(
    says: np.ndarray, truth: np.ndarray, patients: Sequence[str], strata: np.ndarray | None = None, seed: int = 0
) -> Concordance | None:
    """Return how well one number tells another, ``(n,)`` each.

    Args:
        says: What is to tell it.
        truth: What is told. Pairs that do not differ in it are not compared.
        patients: ``n`` names; an interval draws them with replacement.
        strata: ``(n,)`` numbers: only pairs of the same stratum are compared; see ``STRATA``.
        seed: Of the draws.

    Returns:
        None if fewer than ``FEWEST`` patients have the higher or the lower side of a pair.
    """
    order = np.sign(truth[:, None] - truth[None])
    compared = order != 0
    if strata is not None:
        cut = _strata(strata)
        compared &= cut[:, None] == cut[None]
    names = np.array(patients)
    for side in (order > 0, order < 0):
        if len(set(names[(compared & side).any(axis=1)])) < FEWEST:
            return None
    agree = compared * (1 + order * np.sign(says[:, None] - says[None])) / 2
    known, own = np.unique(names, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=DRAWS)
    weights = np.concatenate([np.ones((1, len(names))), drawn[:, own]])
    pairs = ((weights @ compared) * weights).sum(axis=1)
    shares = ((weights @ agree) * weights).sum(axis=1)[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return Concordance(float(shares[0]), float(low), float(high))


def _coded(columns: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Return covariates ``(n,)`` as numbers, NaN where unknown; those of texts are 1 for one text and 0 for others."""
    coded = {}
    for name, texts in columns.items():
        levels = sorted({text for text in texts if text})
        try:
            coded[name] = np.array([float(text) if text else np.nan for text in texts])
        except ValueError:
            for level in levels:
                coded[f"{name} {level}"] = np.array([float(text == level) if text else np.nan for text in texts])
    return coded


def _means(numbers: Sequence[np.ndarray], patients: Sequence[str]) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Return the mean of each number over the images of a patient, and the patients."""
    known, own = np.unique(np.array(patients), return_inverse=True)
    count = np.bincount(own)
    return tuple(np.bincount(own, each) / count for each in numbers), known.tolist()


def _strata(numbers: np.ndarray) -> np.ndarray:
    levels, own = np.unique(numbers, return_inverse=True)
    if len(levels) <= STRATA:
        return own
    return np.searchsorted(np.quantile(numbers, np.arange(1, STRATA) / STRATA), numbers)
