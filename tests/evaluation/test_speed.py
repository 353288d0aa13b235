"""Times are those of the work that is said to be timed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.speed import Heavy, measure_speed
from support.square_models import SquareClassifier, eager_agent, squares

SIZE = (32, 32)


def test_a_heavy_black_box_answers_as_the_light_one_and_its_large_network_is_really_asked() -> None:
    classifier = SquareClassifier(InputSpec(SIZE))
    heavy = Heavy(classifier, torch.device("cpu"))
    seen = []
    heavy.network.register_forward_hook(lambda module, given, out: seen.append(given[0].shape))
    images = squares(SIZE, 3, 0)
    np.testing.assert_array_equal(heavy.predict(images), classifier.predict(images))
    assert seen == [images.shape]
    assert sum(p.numel() for p in heavy.network.parameters()) > 6_000_000


@pytest.mark.timing
def test_the_ratios_are_of_pairs_and_a_heavy_black_box_costs_more() -> None:
    classifier = SquareClassifier(InputSpec(SIZE))
    figures = measure_speed(eager_agent(classifier), classifier, list(squares(SIZE, 3, 1)))
    assert figures.images == 2
    assert figures.ours > figures.ours_small
    assert figures.occlusion > figures.occlusion_small
    assert min(figures.to_dict()[name] for name in ("to_occlusion", "to_occlusion_small", "to_inversion")) > 0  # type: ignore[type-var]
