"""An agent of patches learns from whole images: from what is found in them, and from what lies elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otherwise.agent.training.data import patient_groups, prepare_images
from otherwise.agent.training.holding_out import hold_out
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import AgentError, ClassifierError, ImageError
from otherwise.finding.finder import Finder
from otherwise.finding.patches import FEWEST, patches_to_learn_from
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import FoundImage, list_images
from otherwise.images.writing import write_image
from support.box_images import FLAT, SOLID, image_with, turned
from support.square_models import SquareClassifier


def test_of_a_whole_image_the_finds_and_other_patches_are_taken() -> None:
    geometry = turned((64, 56, 1), (1.0, 1.0, 1.0), [0, 0, 25])
    image = image_with([(14, 40), (50, 20)], geometry, 2)
    classifier = SquareClassifier(FLAT)
    seen = patches_to_learn_from(classifier, np.random.default_rng(0), best=2, others=5).of(image)

    assert {array.shape for array in seen} == {(1, 8, 8)}
    bright = classifier.predict(np.stack(seen))[:, classifier.classes.index("bright")]
    assert (bright[:2] > 0.5).all()
    assert bright[:2].tolist() == pytest.approx([find.probability for find in Finder(classifier).find(image)[:2]])
    assert len({array.tobytes() for array in seen}) >= 3, "others lie elsewhere"
    wanted = int((bright > 0.5).sum())
    assert 2 <= wanted <= 7
    assert FEWEST <= len(seen) - wanted <= max(FEWEST, min(5, wanted)), "as many of the others"


def test_rare_classes_are_balanced_over_the_images() -> None:
    """One image in five shows something; without balance one patch in twenty would."""
    geometry = Geometry((64, 56, 1), np.eye(4))
    classifier = SquareClassifier(FLAT)
    patches = patches_to_learn_from(classifier, np.random.default_rng(0)).of
    rng, seen = np.random.default_rng(1), []
    for number in range(20):
        image = image_with([(14, 40)] if number % 5 == 0 else [], geometry, 2)
        noise = rng.uniform(0, 0.02, image.array.shape).astype(np.float32)
        seen += patches(image.with_array(image.array + noise))
    share = (classifier.predict(np.stack(seen))[:, 1] > 0.5).mean()
    assert 0.25 < share < 0.75


def test_a_patient_is_held_out_as_a_whole() -> None:
    """Both breasts of a patient stand on one side, whether a table, a study or a folder tells who it is."""
    by_table = [FoundImage(f"{n}.png", str(n), (), patient=f"p{n // 2}") for n in range(6)]
    assert patient_groups(by_table) == ["p0", "p0", "p1", "p1", "p2", "p2"]
    by_study = [FoundImage(f"{n}.dcm", str(n), (), study=f"s{n // 4}") for n in range(8)]
    assert patient_groups(by_study) == ["s0"] * 4 + ["s1"] * 4
    by_folder = [FoundImage(f"p{n // 2}/{n}.png", str(n), ()) for n in range(20)]
    assert patient_groups(by_folder) == [f"p{n // 2}" for n in range(20)]
    by_class = [FoundImage(f"{'ab'[n % 2]}/{n}.png", str(n), ()) for n in range(20)]
    assert len(set(patient_groups(by_class))) == 20, "two folders are classes, not patients"


def test_a_volume_gives_cubes_and_a_patch_gives_itself() -> None:
    patches = patches_to_learn_from(SquareClassifier(SOLID), np.random.default_rng(0), best=1, others=2).of
    geometry = turned((30, 28, 20), (0.8, 0.8, 1.6), [10, -20, 70])
    assert {array.shape for array in patches(image_with([(14, 9, 10)], geometry, 3))} == {(1, 8, 8, 8)}
    patch = np.random.default_rng(1).uniform(0.2, 0.8, (1, 8, 8, 8)).astype(np.float32)
    (same,) = patches(Image(patch, Geometry((8, 8, 8), np.eye(4))))
    assert np.abs(same - patch).max() < 1e-6


def test_what_has_no_patches_is_refused() -> None:
    with pytest.raises(ClassifierError, match="whole images"):
        patches_to_learn_from(SquareClassifier(InputSpec((8, 8))), np.random.default_rng(0))
    empty = Image(np.zeros((1, 40, 40, 1), np.float32), Geometry((40, 40, 1), np.eye(4)), "empty", 2)
    with pytest.raises(ImageError):
        patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0)).of(empty)


def written(folder: Path, count: int) -> Path:
    for number in range(count):
        geometry = Geometry((40, 32, 1), np.eye(4))
        image = image_with([(8 + number % 20, 16)], geometry, 2)
        image = image.with_array(image.array + np.float32(number / 1000))
        write_image(image, folder / f"whole-{number:02d}.nrrd")
    return folder


def test_all_patches_of_an_image_are_held_out_together(tmp_path: Path) -> None:
    views = patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0), best=1, others=4)
    prepared = prepare_images(written(tmp_path / "images", 12), FLAT, tmp_path / "prepared.npy", views=views)
    data = hold_out(prepared, SquareClassifier(FLAT))
    assert len(data.held_out) >= 16

    # An image's grey tells which it is.
    def image_of(patch: np.ndarray) -> int:
        return round(1000 * (float(patch.min()) - 0.1))

    held, kept = {image_of(patch) for patch in data.held_out}, {image_of(patch) for patch in data.train}
    assert 1 <= len(held) <= 8
    assert not held & kept


def test_images_of_one_patient_are_no_data_set(tmp_path: Path) -> None:
    views = patches_to_learn_from(SquareClassifier(FLAT), np.random.default_rng(0), best=1, others=4)
    images = [replace(image, patient="p") for image in list_images(written(tmp_path / "images", 12)).images]
    with pytest.raises(AgentError, match="one image or patient"):
        hold_out(prepare_images(images, FLAT, tmp_path / "prepared.npy", views=views), SquareClassifier(FLAT))
