"""An agent of patches learns from whole images: from what is found in them, and from what lies elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otherwise.agent.training.data import prepare_images
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import AgentError, ClassifierError, ImageError
from otherwise.finding.finder import Finder
from otherwise.finding.patches import patches_to_learn_from
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.box_images import FLAT, SOLID, image_with, turned
from support.square_models import SquareClassifier


def test_of_a_whole_image_the_finds_and_other_patches_are_taken() -> None:
    geometry = turned((64, 56, 1), (1.0, 1.0, 1.0), [0, 0, 25])
    image = image_with([(14, 40), (50, 20)], geometry, 2)
    classifier = SquareClassifier(FLAT)
    seen = patches_to_learn_from(classifier, np.random.default_rng(0), best=2, others=5)(image)

    assert len(seen) == 7
    assert {array.shape for array in seen} == {(1, 8, 8)}
    bright = classifier.predict(np.stack(seen))[:, classifier.classes.index("bright")]
    assert (bright[:2] > 0.5).all()
    assert bright[:2].tolist() == pytest.approx([find.probability for find in Finder(classifier).find(image)[:2]])
    assert len({array.tobytes() for array in seen}) >= 3, "others lie elsewhere"


def test_a_volume_gives_cubes_and_a_patch_gives_itself() -> None:
    patches = patches_to_learn_from(SquareClassifier(SOLID), np.random.default_rng(0), best=1, others=2)
    geometry = turned((30, 28, 20), (0.8, 0.8, 1.6), [10, -20, 70])
    assert [array.shape for array in patches(image_with([(14, 9, 10)], geometry, 3))] == [(1, 8, 8, 8)] * 3
    patch = np.random.default_rng(1).uniform(0.2, 0.8, (1, 8, 8, 8)).astype(np.float32)
    (same,) = patches(Image(patch, Geometry((8, 8, 8), np.eye(4))))
    assert np.abs(same - patch).max() < 1e-6


def test_what_has_no_patches_is_refused() -> None:
    with pytest.raises(ClassifierError, match="whole images"):
        patches_to_learn_from(SquareClassifier(InputSpec((8, 8))), np.random.default_rng(0))
    empty = Image(np.zeros((1, 40, 40, 1), np.float32), Geometry((40, 40, 1), np.eye(4)), "empty", 2)
    with pytest.raises(ImageError):
        patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0))(empty)


def written(folder: Path, count: int) -> Path:
    for number in range(count):
        geometry = Geometry((40, 32, 1), np.eye(4))
        image = image_with([(8 + number % 20, 16)], geometry, 2)
        image = image.with_array(image.array + np.float32(number / 1000))
        write_image(image, folder / f"whole-{number:02d}.nrrd")
    return folder


def test_all_patches_of_an_image_are_held_out_together(tmp_path: Path) -> None:
    views = patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0), best=1, others=4)
    data = prepare_images(written(tmp_path / "images", 12), FLAT, tmp_path / "prepared.npy", views=views)
    assert len(data.train) + len(data.held_out) == 60
    assert len(data.held_out) == 20, "16 at least, and images are not divided"

    # An image's grey tells which it is.
    def image_of(patch: np.ndarray) -> int:
        return round(1000 * (float(patch.min()) - 0.1))

    held, kept = {image_of(patch) for patch in data.held_out}, {image_of(patch) for patch in data.train}
    assert len(held) == 4
    assert not held & kept


def test_patches_of_one_image_are_no_data_set(tmp_path: Path) -> None:
    views = patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0), best=1, others=40)
    with pytest.raises(AgentError, match="one image"):
        prepare_images(written(tmp_path / "images", 1), FLAT, tmp_path / "prepared.npy", views=views)
