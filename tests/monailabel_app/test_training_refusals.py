"""``/train/agent`` refuses at once what it could not use, and never changes over to a worse agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.training.validation import Figures
from otherwise.blackbox.protocol import InputSpec
from otherwise.explain.explainer import Explainer
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.app_in_process import open_app
from support.square_models import SquareClassifier, eager_agent, squares

SIZE = (16, 16)


def reply_to_training(root: Path, app_class: Any, images: list[Image]) -> Any:
    for number, image in enumerate(images):
        write_image(image, root / "studies" / f"image-{number:02d}.nrrd")
    classifier = SquareClassifier(InputSpec(SIZE))
    explainer = Explainer(classifier, eager_agent(classifier), SearchSettings(steps=1, rounds=1, alternatives=0))
    conf = {"state": str(root / "state"), "device": "cpu"}
    with open_app(app_class, root / "studies", conf, explainer) as (client, _):
        return client.post("/train/agent", json={"minutes": 0.01})


def test_too_few_images_are_refused_at_once(tmp_path: Path, app_class: Any) -> None:
    images = [Image(array[..., None], Geometry((*SIZE, 1), np.eye(4)), dimension=2) for array in squares(SIZE, 3, 1)]
    reply = reply_to_training(tmp_path, app_class, images)
    assert reply.status_code == 422, reply.text
    assert "3 images" in reply.json()["detail"]


def test_volumes_for_a_classifier_of_slices_are_refused_at_once(tmp_path: Path, app_class: Any) -> None:
    rng = np.random.default_rng(0)
    volumes = [Image(rng.random((1, *SIZE, 4), np.float32), Geometry((*SIZE, 4), np.eye(4))) for _ in range(32)]
    reply = reply_to_training(tmp_path, app_class, volumes)
    assert reply.status_code == 422, reply.text
    assert "cannot learn from these images" in reply.json()["detail"]


def figures(images: int, agreement: float, validity: float) -> Figures:
    return Figures(images, 0.01, agreement, validity, 0.01, 20)


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (figures(16, 1.0, 0.9), figures(16, 0.94, 0.9), True),
        (figures(16, 1.0, 0.9), figures(16, 1.0, 0.9), False),
        (figures(16, 0.9, 0.9), figures(16, 1.0, 0.8), True),
        (figures(64, 1.0, 0.9), figures(64, 0.985, 0.89), False),
        (figures(64, 1.0, 0.9), figures(64, 0.97, 0.95), True),
    ],
)
def test_an_agent_that_lost_agreement_or_validity_is_not_used(
    app_class: Any, before: Figures, after: Figures, worse: bool
) -> None:
    from lib.trainers.agent import is_worse

    assert is_worse(before, after) is worse
