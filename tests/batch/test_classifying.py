"""A worker that shares no disk answers as this process does, also where images cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from otherwise import __version__
from otherwise.batch.classifying import UNREADABLE, ClassifyOrder, RemoteClassifier, classify_here, classify_on_ray
from otherwise.batch.errors import Failure
from otherwise.batch.parcel import pack, pack_image
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.images.listing import FoundImage, list_images


@pytest.fixture
def order(tmp_path: Path) -> ClassifyOrder:
    """A linear classifier of grey pictures, as a bundle."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2)).eval()
    torch.jit.trace(network, torch.zeros(1, 1, 8, 6)).save(str(tmp_path / "model.ts"))
    inputs = InputSpec((8, 6), intensity=(0, 255))
    import_classifier(tmp_path / "model.ts", tmp_path / "bundle", classes=("a", "b"), inputs=inputs)
    return ClassifyOrder(str(tmp_path / "bundle"))


@pytest.fixture
def images(tmp_path: Path) -> tuple[FoundImage, ...]:
    """Pictures of several sizes, among them a constant one, which has no answer."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(20):
        array = (rng.random((10 + number, 12)) * (0 if number == 3 else 255)).astype(np.uint8)
        PIL.Image.fromarray(array).save(folder / f"p{number:02}.png")
    return list_images(folder).images


def loaded(order: ClassifyOrder) -> RemoteClassifier:
    worker = RemoteClassifier()
    assert worker.load(pack(Path(order.classifier)), ClassifyOrder("bundle"), __version__) is None
    return worker


def test_a_worker_answers_as_this_process_does(order: ClassifyOrder, images: tuple[FoundImage, ...]) -> None:
    box = load_classifier(order.classifier)
    here = classify_here(box, images, order)
    there = loaded(order).ask(images, [pack_image(image) for image in images])
    assert there == here
    assert [answer.id for answer in here] == [image.id for image in images]
    assert "constant" in here[3].error
    assert all(answer.label for number, answer in enumerate(here) if number != 3)


def test_what_cannot_be_read_is_said_of_that_image_alone(order: ClassifyOrder, images: tuple[FoundImage, ...]) -> None:
    answers = loaded(order).ask(images[:3], [pack_image(images[0]), {}, pack_image(images[2])])
    assert not isinstance(answers, Failure)
    assert [bool(answer.error) for answer in answers] == [False, True, False]
    assert UNREADABLE.detail in answers[1].error


def test_another_version_or_a_broken_bundle_is_a_failure_and_no_exception(order: ClassifyOrder) -> None:
    parcel = pack(Path(order.classifier))
    other = RemoteClassifier().load(parcel, ClassifyOrder("bundle"), "0.0")
    assert other is not None
    assert "Install one version everywhere." in other.hint
    broken = {name: content for name, content in parcel.items() if "metadata" not in name}
    assert RemoteClassifier().load(broken, ClassifyOrder("bundle"), __version__) is not None


@pytest.mark.slow
def test_on_ray_the_answers_are_the_same(
    order: ClassifyOrder, images: tuple[FoundImage, ...], recwarn: pytest.WarningsRecorder
) -> None:
    reported: list[tuple[int, int]] = []
    progress: Callable[[int, int], None] = lambda done, total: reported.append((done, total))  # noqa: E731
    answers = classify_on_ray(images, order, 2, None, progress)
    assert answers == classify_here(load_classifier(order.classifier), images, order)
    assert reported[-1] == (20, 20)
