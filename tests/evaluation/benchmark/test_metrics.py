"""Each metric against what can be worked out by hand: a perfect explainer scores best, a random one chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.benchmark.distances import (
    changed_fraction,
    frechet_distance,
    kernel_distance,
    l1,
    peak_signal_to_noise,
    similarity,
)
from otherwise.evaluation.benchmark.faithfulness import cout, deletion_auc, insertion_auc
from otherwise.evaluation.benchmark.localisation import average_precision, energy_inside, pointing_game
from support.square_models import SquareClassifier

SIZE = (16, 16)
CLASSIFIER = SquareClassifier(InputSpec(SIZE))
CENTRE = np.zeros(SIZE, bool)
CENTRE[4:12, 4:12] = True
"""What the classifier looks at, and nothing else."""
DARK, BRIGHT = 0, 1


def test_a_perfect_map_scores_one_and_its_opposite_next_to_nothing() -> None:
    perfect = CENTRE.astype(np.float32)
    for metric in (average_precision, pointing_game, energy_inside):
        assert metric(perfect, CENTRE) == pytest.approx(1.0)
    assert average_precision(-perfect, CENTRE) == pytest.approx(CENTRE.mean())
    assert pointing_game(-perfect, CENTRE) == 0.0
    assert energy_inside(-perfect, CENTRE) == 0.0


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_a_random_map_scores_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.random((80, *SIZE))
    chance = CENTRE.mean()
    assert np.mean([average_precision(m, CENTRE) for m in maps]) == pytest.approx(chance, abs=0.05)
    assert np.mean([energy_inside(m, CENTRE) for m in maps]) == pytest.approx(chance, abs=0.03)
    assert np.mean([pointing_game(m, CENTRE) for m in maps]) == pytest.approx(chance, abs=0.25)


def test_average_precision_by_hand() -> None:
    """True voxels at ranks 1 and 3 of four: (1/1 + 2/3) / 2."""
    assert average_precision(np.array([[4.0, 3.0], [2.0, 1.0]]), np.array([[True, False], [True, False]])) == (
        pytest.approx((1 + 2 / 3) / 2)
    )


def test_several_maxima_share_the_point() -> None:
    assert pointing_game(np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, False, False, True])) == pytest.approx(1 / 3)


def test_energy_counts_what_speaks_for_the_class_only() -> None:
    assert energy_inside(np.array([3.0, 1.0, -8.0]), np.array([True, False, False])) == pytest.approx(0.75)
    assert energy_inside(np.zeros(3), np.array([True, False, False])) == 0.0


def test_deletion_falls_at_once_where_the_map_is_right_and_insertion_rises() -> None:
    image, black = np.full((1, *SIZE), 0.9, np.float32), np.zeros((1, *SIZE), np.float32)
    right, wrong = CENTRE.astype(np.float32), -CENTRE.astype(np.float32)
    # The centre is a quarter of the image; the classifier turns when half of it is gone (0.45 against 0.5).
    assert deletion_auc(CLASSIFIER, image, right, BRIGHT, black) == pytest.approx(0.11, abs=0.03)
    assert deletion_auc(CLASSIFIER, image, wrong, BRIGHT, black) == pytest.approx(0.86, abs=0.03)
    assert insertion_auc(CLASSIFIER, image, right, BRIGHT, black) == pytest.approx(0.86, abs=0.03)
    assert insertion_auc(CLASSIFIER, image, wrong, BRIGHT, black) == pytest.approx(0.11, abs=0.03)


def test_a_counterfactual_that_changes_what_counts_first_has_a_high_score() -> None:
    image = np.full((1, *SIZE), 0.1, np.float32)
    edited = image + 0.8 * CENTRE
    assert cout(CLASSIFIER, image, edited, DARK, BRIGHT) == pytest.approx(0.75, abs=0.05)
    everywhere = image + 0.8 * CENTRE + 0.85 * ~CENTRE
    assert cout(CLASSIFIER, image, everywhere, DARK, BRIGHT) == pytest.approx(-0.72, abs=0.05)


def test_distances_by_hand() -> None:
    image = np.full((1, *SIZE), 0.5, np.float32)
    edited = image + 0.2 * CENTRE
    assert l1(image, edited) == pytest.approx(0.2 / 4)
    assert changed_fraction(image, edited, 0.1) == 0.25
    assert changed_fraction(image, edited, np.where(CENTRE, 0.3, 0.1)) == 0.0
    assert peak_signal_to_noise(image, edited, CENTRE) == pytest.approx(-20 * np.log10(0.2), abs=1e-4)
    assert peak_signal_to_noise(image, edited, ~CENTRE) == 100.0


def test_similarity_is_one_where_nothing_changed_and_less_where_something_did() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((2, 40, 40)).astype(np.float32)
    inside = np.zeros((40, 40), bool)
    inside[15:25, 15:25] = True
    edited = np.where(inside, rng.random((2, 40, 40)), image).astype(np.float32)
    far = np.ones((40, 40), bool)
    far[11:29, 11:29] = False
    assert similarity(image, edited, far) == pytest.approx(1.0)
    assert similarity(image, edited, inside) < 0.4
    volume = rng.random((1, 9, 8, 6)).astype(np.float32)
    assert similarity(volume, volume, np.ones((9, 8, 6), bool)) == pytest.approx(1.0)


def test_distances_of_sets_tell_equal_sets_from_shifted_ones() -> None:
    rng = np.random.default_rng(0)
    one, same, other = rng.normal(0, 1, (400, 4)), rng.normal(0, 1, (400, 4)), rng.normal(1, 1, (400, 4))
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-6)
    # Two normal distributions that differ in their means only: the squared distance of these.
    assert frechet_distance(one, other) == pytest.approx(4.0, abs=0.6)
    assert abs(kernel_distance(one, same)) < 0.1
    assert kernel_distance(one, other) > 10 * abs(kernel_distance(one, same))
