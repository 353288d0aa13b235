"""A classifier that goes by grain is called so, and one that does not is not."""

import numpy as np
import pytest

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.robustness import DISTURBANCES, measure_robustness

CLASSES = ("calm", "grainy")


def blobs(count: int, *size: int) -> np.ndarray:
    """Dark images, half of them with a bright middle."""
    images = np.full((count, 1, *size), 0.3, np.float32)
    middle = tuple(slice(edge // 4, 3 * edge // 4) for edge in size)
    images[(slice(None, None, 2), 0, *middle)] = 0.7
    return images


def logistic(score: np.ndarray) -> np.ndarray:
    second = 1 / (1 + np.exp(-score))
    return np.stack([1 - second, second], axis=1)


def by_grain(images: np.ndarray) -> np.ndarray:
    """Grainy where neighbours along the last axis differ."""
    rough = np.abs(np.diff(images, axis=-1)).mean(axis=tuple(range(1, images.ndim)))
    return logistic(200 * (rough - 0.06))


def by_middle(images: np.ndarray) -> np.ndarray:
    """Grainy where the middle is bright, which is 0.3 or 0.7."""
    middle = tuple(slice(edge // 4, 3 * edge // 4) for edge in images.shape[2:])
    return logistic(50 * (images[(slice(None), 0, *middle)].mean(axis=tuple(range(1, images.ndim - 1))) - 0.5))


@pytest.mark.parametrize("size", [(32, 24), (16, 16, 12)])
def test_who_goes_by_grain_is_called_so(size):
    found = measure_robustness(by_grain, blobs(20, *size), CLASSES)
    assert found.goes_by_grain
    assert found.sentence.startswith("The classifier goes by grain")
    assert "most of them to grainy" in found.sentence
    assert found.to_dict()["flips"]["white_noise_0.1"] == 1.0
    assert found.to_dict()["flips"]["contrast_0.8"] == 0.0


@pytest.mark.parametrize("size", [(32, 24), (16, 16, 12)])
def test_who_does_not_is_not(size):
    found = measure_robustness(by_middle, blobs(20, *size), CLASSES)
    assert not found.goes_by_grain
    assert found.sentence.startswith("Grain does not move the classifier")
    assert all(one.share == 0 for one in found.flips)
    assert [one.disturbance for one in found.flips] == list(DISTURBANCES)


def test_each_class_of_several_labels_counts_by_itself():
    def both(images):
        return np.stack([by_middle(images)[:, 1], by_grain(images)[:, 1]], axis=1)

    found = measure_robustness(both, blobs(10, 32, 24), ("bright", "grainy"), rule=DecisionRule(multi_label=True))
    worst = found.worst_grain
    assert worst.towards == {"bright": 0.0, "grainy": 1.0}
    assert worst.share == 1.0


def test_the_same_seed_measures_the_same():
    first, again, other = (
        measure_robustness(
            lambda images: logistic(300 * (images[:, 0, 0, 0] - 0.3)), blobs(30, 16, 16), CLASSES, seed=seed
        )
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
