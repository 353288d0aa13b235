"""What a training says before it begins, and the examples that it shows while it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from otherwise.agent.calibration import Calibration
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.training import examples
from otherwise.agent.training.estimate import Estimate, estimate
from otherwise.agent.training.finishing import doubts
from otherwise.agent.training.run_options import TrainingSession
from otherwise.agent.training.trainer import Trainer, TrainingSettings
from otherwise.agent.training.validation import Figures
from otherwise.blackbox.protocol import InputSpec
from support.quick_search import ONE_ATTEMPT
from support.square_models import SquareClassifier, eager_agent, squares


def trainer(settings: TrainingSettings) -> Trainer:
    torch.manual_seed(0)
    architecture = Architecture(2, (16, 16), latent=8, channels=(16, 16))
    return Trainer(
        DiffusionAutoencoder(architecture),
        SquareClassifier(InputSpec((16, 16))),
        squares((16, 16), 40, seed=1),
        settings,
    )


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Estimate(500, 16, 3000), "mostly noise"),
        (Estimate(1000, 8, 3000), "mostly noise"),
        (Estimate(4000, 16, 3000), "rough"),
        (Estimate(9000, 16, 3000), "as much as the shipped agents"),
        (Estimate(500, 16, 3000, further=True), "trained before"),
        (Estimate(9000, 16, 120), "120 images are few"),
    ],
)
def test_the_extent_says_what_to_expect(known: Estimate, words: str) -> None:
    assert any(words in sentence for sentence in known.sentences)
    assert f"About {known.steps:,} steps of {known.batch} images" in known.sentences[0]


def test_steps_that_are_asked_for_are_known_and_minutes_are_timed() -> None:
    by_steps = trainer(TrainingSettings(steps=60, batch=4))
    assert estimate(by_steps, False) == Estimate(60, 4, 40)
    by_minutes = trainer(TrainingSettings(minutes=1.0, batch=4))
    before = {name: value.clone() for name, value in by_minutes.model.state_dict().items()}
    short, long = estimate(by_minutes, False), estimate(trainer(TrainingSettings(minutes=1000.0, batch=4)), False)
    assert 0 < short.steps < long.steps
    assert by_minutes.step == 0
    for name, value in by_minutes.model.state_dict().items():
        assert torch.equal(value, before[name]), "the training itself has not begun"


@pytest.mark.parametrize(
    ("validity", "convinced", "drawn", "words"),
    [
        (1.0, 0.95, 0.9, None),
        (0.4, 0.1, 0.9, "seldom finds a counterfactual: 40%"),
        (1.0, 0.3, 0.9, "does not convince: for 30%"),
        (1.0, 0.95, 0.2, "does not draw other classes by itself (20%"),
    ],
)
def test_the_card_says_when_an_agent_does_not_convince(
    validity: float, convinced: float, drawn: float, words: str | None
) -> None:
    figures = Figures(24, 0.01, 0.9, validity, 0.01, 100, 24, convinced)
    said = doubts(figures, Calibration(evidence_validity=drawn))
    if words is None:
        assert said == []
    else:
        assert words in said[0]
        assert "--minutes" in said[-1], "what to do about it"


def test_the_size_of_the_networks_follows_from_the_images_unless_it_is_given() -> None:
    classifier = SquareClassifier(InputSpec((64, 64)))
    session = TrainingSession(
        classifier,
        Path("images"),
        Path("agent"),
        Architecture(2, (64, 64), channels=(16, 16)),
        TrainingSettings(steps=1),
        *(None, "cpu", False, False, None, "agent", ""),
    )
    assert session.architecture_for(3_000).channels == (16, 16)
    free = replace(session, default_widths=True)
    assert free.architecture_for(3_000).channels == (64, 96, 128)
    assert free.architecture_for(100).channels == (32, 48, 64)
    folded = replace(
        session, default_prediction=True, architecture=Architecture(2, (64, 64), patch=4, channels=(16, 16))
    )
    assert (session.architecture_for(100).prediction, folded.architecture_for(100).prediction) == ("velocity", "image")


def test_examples_are_drawn_in_a_row_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "SearchSettings", lambda **_: ONE_ATTEMPT)
    classifier = SquareClassifier(InputSpec((16, 16)))
    agent, images = eager_agent(classifier), squares((16, 16), 3, seed=2)
    heights = []
    for seconds in (60.0, 0.0):
        path = tmp_path / f"{seconds}.png"
        flips = examples.write_examples(agent, classifier, images, path, seconds)
        picture = np.asarray(Picture.open(path).convert("RGB"))
        assert picture.std() > 10
        heights.append(len(picture))
        assert 0 <= flips <= (3 if seconds else 1)
    assert heights[0] == 3 * heights[1], "without time one example is drawn"
