"""The figures of an agent: measured on phantoms, the same each time, and refused where they would mean nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ClassifierError
from otherwise.evaluation.quality import measure_native, measure_quality
from otherwise.explain.explainer import Explainer
from support.square_models import SquareClassifier, eager_agent


def test_an_agent_that_moves_everything_flips_everything_and_the_figures_repeat() -> None:
    classifier = SquareClassifier(InputSpec((32, 32)))
    reported: list[float] = []
    figures = measure_quality(eager_agent(classifier), classifier, 4, 7, lambda stage, done: reported.append(done))
    assert (figures.images, figures.seed, figures.classifier) == (4, 7, classifier.version)
    assert figures.validity == 1.0
    assert 0.3 < figures.validity_low < 0.7, "four of four say little"
    assert figures.reconstruction_l1 < 1e-4, "its decoder changes nothing without an edit"
    assert figures.changed_l1 is not None
    assert figures.changed_l1 > 0.01
    assert reported[-1] == 1.0
    again = measure_quality(eager_agent(classifier), classifier, 4, 7)
    assert replace(again, seconds=0.0) == replace(figures, seconds=0.0)


def test_a_3d_classifier_is_refused() -> None:
    classifier = SquareClassifier(InputSpec((16, 16, 16)))
    with pytest.raises(ClassifierError, match="3-D"):
        measure_quality(eager_agent(classifier), classifier, 1, 0)


def test_flips_are_counted_at_the_images_own_resolution() -> None:
    classifier = SquareClassifier(InputSpec((32, 32)))
    figures = measure_native(Explainer(classifier, eager_agent(classifier)), 3, 7, (96, 96))
    assert (figures.images, figures.pixels, figures.validity, figures.lost) == (3, (96, 96), 1.0, 0.0)
    stubborn = SquareClassifier(InputSpec((32, 32)), version="3" * 64)
    still = replace(eager_agent(stubborn), model=eager_agent(stubborn).model)
    still.model.velocity = lambda noised, time, code: noised * 0  # type: ignore[method-assign]
    assert measure_native(Explainer(stubborn, still), 2, 7, (96, 96)).validity == 0.0
