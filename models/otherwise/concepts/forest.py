"""Extremely randomised trees that answer several yes-or-no questions at once.

One ensemble with many outputs (Geurts, Ernst & Wehenkel, Machine Learning 63, 2006) costs little more than one with a
single output: most of the time goes into growing a tree at all.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.ensemble import ExtraTreesClassifier


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees that look at the first features that they were fitted to. Made by ``fit_forest``."""

    _trees: ExtraTreesClassifier

    def probabilities(self, places: np.ndarray) -> np.ndarray:
        """Return the probability of "yes" for each question: ``(n, questions)`` for places ``(n, features)``."""
        if not len(places):
            return np.zeros((0, self._trees.n_outputs_))
        found = self._trees.predict_proba(places[:, : self._trees.n_features_in_])
        return np.stack([each[:, 1] for each in (found if isinstance(found, list) else [found])], axis=1)

    def unseen_probabilities(self) -> np.ndarray:
        """Return the same ``(n, questions)`` for the rows that it was fitted to, by trees that have not seen the row.

        Only of a forest that was fitted with ``hold_out``. Where all trees have seen a row, the probability is 1.
        """
        found = self._trees.oob_decision_function_[:, 1]
        return np.nan_to_num(found.reshape(len(found), -1), nan=1.0)


def fit_forest(
    places: np.ndarray,
    answers: np.ndarray,
    counts: np.ndarray | None = None,
    trees: int = 80,
    seed: int = 0,
    hold_out: bool = False,
    least_leaf: int = 1,
    balanced: bool = False,
) -> Forest:
    """Grow trees.

    Args:
        places: ``(n, features)``.
        answers: 0 or 1 ``(n, questions)``; each question needs both answers.
        counts: ``(n,)`` what each row counts; None: all alike.
        trees: How many.
        seed: Of the trees.
        hold_out: Whether each tree is grown without a third of the rows, see ``unseen_probabilities``.
        least_leaf: Fewest rows of a leaf.
        balanced: Whether both answers count alike, however many rows give them.
    """
    ensemble = ExtraTreesClassifier(
        trees,
        bootstrap=hold_out,
        oob_score=hold_out,
        min_samples_leaf=least_leaf,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True, assume_finite=True):
        warnings.simplefilter("ignore", UserWarning)  # of a row that all trees have seen
        ensemble.fit(places, answers[:, 0] if answers.shape[1] == 1 else answers, sample_weight=counts)
    return Forest(ensemble)
