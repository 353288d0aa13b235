"""What is held out of a training: whole patients, near duplicates with them, and enough of a rare class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from otherwise.agent.training.data import PreparedImages, prepare_images
from otherwise.agent.training.holding_out import ENOUGH, MOST_FOR_RARE, hold_out, in_turns
from otherwise.agent.training.near_duplicates import merged_groups, perceptual_hash
from otherwise.blackbox.protocol import InputSpec
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.nodule import NoduleSettings, nodules
from support.square_models import SquareClassifier

FLAT = InputSpec((8, 8))


def views(called_bright: list[bool]) -> np.ndarray:
    """``(n, 1, 8, 8)``: bright or dark for the classifier of squares, each of a grey of its own."""
    rng = np.random.default_rng(0)
    levels = np.where(called_bright, 0.9, 0.1)[:, None, None, None]
    return (levels + rng.uniform(-0.05, 0.05, (len(called_bright), 1, 8, 8))).astype(np.float32)


def prepared(patients: int, each: int, bright: set[int]) -> PreparedImages:
    """``each`` images of every patient; of the patients ``bright`` one image is called bright."""
    called = [patient in bright and n == 0 for patient in range(patients) for n in range(each)]
    names = tuple(f"patient {patient}" for patient in range(patients) for _ in range(each))
    return PreparedImages(views(called), tuple(range(len(called))), names)


def bright_of(images: np.ndarray) -> np.ndarray:
    return SquareClassifier(FLAT).predict(images)[:, 1] > 0.5


def test_more_patients_are_held_out_where_a_class_is_rare() -> None:
    """Of 400 images 40 are bright, each of another patient; five in a hundred held out would hold two."""
    data = hold_out(prepared(100, 4, set(range(0, 100, 5)) | set(range(1, 100, 5))), SquareClassifier(FLAT))
    assert bright_of(data.held_out).sum() == ENOUGH
    assert len(data.held_out) <= MOST_FOR_RARE * 400
    assert bright_of(data.train).sum() == 40 - ENOUGH
    assert not any("Fewer" in note for note in data.notes)
    first = bright_of(data.held_out[: 2 * ENOUGH])
    assert first.sum() == ENOUGH, "classes take turns, so that a bounded validation sees both"


def test_a_sentence_says_where_too_few_of_a_class_are_held_out() -> None:
    data = hold_out(prepared(100, 4, {3, 50}), SquareClassifier(FLAT))
    (note,) = [note for note in data.notes if "Fewer than" in note]
    assert "bright" in note
    assert "more patients" in note
    assert any(note.startswith("Called bright: ") for note in data.notes)


def test_patients_are_never_divided() -> None:
    whole = prepared(60, 5, set(range(30)))
    data = hold_out(whole, SquareClassifier(FLAT))
    of = {view.tobytes(): group for view, group in zip(whole.views, whole.groups, strict=True)}
    sides = [{of[view.tobytes()] for view in side} for side in (data.train, data.held_out)]
    assert not sides[0] & sides[1]


def test_labels_take_turns() -> None:
    assert [[1, 1, 1, 0, 0][n] for n in in_turns([1, 1, 1, 0, 0])] == [1, 0, 1, 0, 1]


def again(image: Image, kind: str) -> Image:
    """Export a plane once more in another way."""
    array = image.array[0, :, :, 0].astype(float)
    array = (array - array.min()) / np.ptp(array)
    if kind == "8 bits":
        array = np.round(255 * array)
    elif kind == "half the size":
        edges = [edge // 2 for edge in array.shape[::-1]]
        array = np.asarray(Picture.fromarray(np.uint8(255 * array)).resize(edges))
    elif kind == "noise":
        array = array + np.random.default_rng(1).normal(0, 0.02, array.shape)
    else:
        array = array**0.8
    return Image(array[None, :, :, None].astype(np.float32), Geometry((*array.shape, 1), np.eye(4)), "again", 2)


@pytest.mark.parametrize("kind", ["8 bits", "half the size", "noise", "brightened"])
def test_near_duplicates_are_put_together_and_other_images_are_not(kind: str) -> None:
    originals = [phantom.image for phantom in mammograms(3, 24, MammogramSettings())]
    images = [*originals, *(again(image, kind) for image in originals)]
    groups = merged_groups([f"{n}" for n in range(48)], [perceptual_hash(image) for image in images])
    assert groups == 2 * [f"{n}" for n in range(24)]


def test_volumes_and_planes_are_hashed_each_by_itself() -> None:
    volumes = [phantom.image for phantom in nodules(3, 4, NoduleSettings())]
    plane = next(iter(mammograms(3, 1, MammogramSettings()))).image
    brighter = [image.with_array(2 * image.array.astype(np.float32) + 7) for image in volumes]
    images = [*volumes, plane, *brighter]
    groups = merged_groups([f"{n}" for n in range(9)], [None, *(perceptual_hash(image) for image in images[1:])])
    assert groups == ["0", "1", "2", "3", "4", "5", "1", "2", "3"]


def test_duplicates_of_two_patients_bring_both_to_one_side() -> None:
    """Names that differ are no proof: the same image under the names of two patients joins all of their images."""
    rng = np.random.default_rng(0)
    hashes = [rng.random(255) > 0.5 for _ in range(6)]
    hashes[3] = hashes[0].copy()
    assert merged_groups(["a", "a", "b", "c", "c", "d"], hashes) == ["a", "a", "b", "a", "a", "d"]


def test_prepared_images_remember_which_are_near_duplicates(tmp_path: Path) -> None:
    from otherwise.images.listing import list_images
    from otherwise.images.writing import write_image

    for number, phantom in enumerate(mammograms(3, 32, MammogramSettings())):
        write_image(replace(phantom.image, id=f"a{number:02d}"), tmp_path / "images" / f"a{number:02d}.nrrd")
        if number < 4:
            write_image(phantom.image, tmp_path / "images" / f"copy{number}.nrrd")
    source = list_images(tmp_path / "images").images
    inputs = InputSpec((16, 16))
    for _ in range(2):  # the second time from the cache
        found = prepare_images(source, inputs, tmp_path / "prepared.npy")
        assert found.alike == 4
        assert len(found.views) == 36
        assert len(set(found.groups)) == 32
