"""Own images and masks as cases: whole views, and each lesion of large images where the finder sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ImageError
from otherwise.evaluation.benchmark.cases import phantom_case
from otherwise.evaluation.benchmark.own_cases import own_cases
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support.box_images import FLAT, SOLID, image_with, turned
from support.monai_bundles import RESIZE, SCALE, small_bundle
from support.square_models import SquareClassifier


def written(folder: Path, image: Image, name: str, places: list[tuple[float, ...]]) -> None:
    """Write an image with bright boxes, and a mask of the boxes at ``places``."""
    write_image(image, folder / "images" / f"{name}.nrrd")
    masked = image_with(places, image.geometry, image.dimension)
    write_image(masked.with_array((masked.array > 0.5).astype(np.uint8)), folder / "masks" / f"{name}.nrrd")


def in_colour(image: Image) -> Image:
    return image.with_array(np.repeat(image.array, 3, axis=0))


@pytest.mark.parametrize("angle", [0.0, 25.0])
def test_each_lesion_of_a_whole_image_is_a_case_where_the_finder_sees_it(angle: float, tmp_path: Path) -> None:
    geometry = turned((64, 56, 1), (1.0, 1.0, 1.0), [0, 0, angle])
    places = [(14, 40), (50, 20), (9, 9)]
    written(tmp_path, image_with(places, geometry, 2), "three", places)
    written(tmp_path, image_with([(30, 30)], geometry, 2), "one", [(30, 30)])
    classifier = SquareClassifier(FLAT)
    found = own_cases(tmp_path / "images", tmp_path / "masks", classifier)
    assert found.left_out == ()
    assert sorted(case.id for case in found.cases) == ["one", "three-1", "three-2", "three-3"]
    for case in found.cases:
        assert classifier.predict(case.image[None])[0, 1] > 0.9, "the most suspicious patch with the lesion"
        assert case.truth is not None
        assert (case.image[0] > 0.5)[case.truth].mean() > 0.8
    assert {case.patient for case in found.cases} == {"one", "three"}


def test_a_lesion_outside_is_left_out_by_itself_and_said(tmp_path: Path) -> None:
    """One of two lesions is drawn in air, one image is all air, one has no mask, and one an empty mask."""
    geometry = Geometry((64, 56, 1), np.eye(4))
    image = image_with([(14, 14)], geometry, 2)
    image.array[0, 32:] = 0
    written(tmp_path, image, "half", [(14, 14), (56, 40)])
    air = image.with_array(np.zeros_like(image.array))
    air.array[0, 0, 0] = 1e-3
    written(tmp_path, air, "air", [(14, 14)])
    written(tmp_path, image_with([(40, 40)], geometry, 2), "empty", [])
    write_image(image, tmp_path / "images" / "unread.nrrd")
    found = own_cases(tmp_path / "images", tmp_path / "masks", SquareClassifier(FLAT))
    assert [case.id for case in found.cases] == ["half-1"]
    reasons = " | ".join(found.left_out)
    assert "lesion 2 of half: it lies in no patch with enough tissue" in reasons
    assert "air: No patch of image air holds" in reasons
    assert "empty: its mask is empty" in reasons
    assert "1 images without a mask, such as unread" in reasons


def test_lesions_of_volumes_are_cubes(tmp_path: Path) -> None:
    geometry = turned((30, 28, 20), (0.8, 0.8, 1.6), [10, -20, 70])
    written(tmp_path, image_with([(14, 9, 10)], geometry, 3), "volume", [(14, 9, 10)])
    (case,) = own_cases(tmp_path / "images", tmp_path / "masks", SquareClassifier(SOLID)).cases
    assert case.image.shape == (1, 8, 8, 8)
    assert case.truth is not None
    assert 0 < case.truth.sum() < case.truth.size


OWN_PREPROCESSING: dict[str, list[dict[str, Any]]] = {
    "crop": [{"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": [32, 48]}],
    "spacing and crop": [
        {"_target_": "Spacingd", "keys": "image", "pixdim": [0.5, 0.8]},
        {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [48, 32]},
    ],
    "turn": [{"_target_": "Rotate90d", "keys": "image"}, RESIZE],
    "mirror": [{"_target_": "Flipd", "keys": "image", "spatial_axis": 0}, RESIZE],
}


@pytest.mark.parametrize("name", OWN_PREPROCESSING)
def test_a_mask_lies_where_a_bundle_of_monai_sees_it(name: str, tmp_path: Path) -> None:
    geometry = Geometry((64, 56, 1), np.diag([0.9, 0.9, 1.0, 1.0]))
    for number, place in enumerate([(24, 32), (40, 20), (33, 28)]):
        written(tmp_path, in_colour(image_with([place], geometry, 2)), f"{number}", [place])
    classifier = load_classifier(small_bundle(tmp_path / "bundle", [*OWN_PREPROCESSING[name], SCALE]))
    found = own_cases(tmp_path / "images", tmp_path / "masks", classifier)
    assert len(found.cases) == 3
    for case in found.cases:
        assert case.truth is not None
        bright = case.image[0] > 0.5 * (case.image[0].min() + case.image[0].max())
        overlap = (bright & case.truth).sum() / (bright | case.truth).sum()
        assert overlap > 0.7, f"{overlap:.2f} of {case.id}"


def test_images_looked_at_as_a_whole_come_with_their_masks(tmp_path: Path) -> None:
    for phantom in mammograms(3, 3, MammogramSettings()):
        write_image(phantom.image, tmp_path / "images" / f"{phantom.image.id}.nii.gz")
        mask = phantom.image.with_array(phantom.masks[phantom.decisive][None].astype(np.uint8))
        write_image(mask, tmp_path / "masks" / f"{phantom.image.id}.nrrd")
    classifier = SquareClassifier(InputSpec((96, 96)))
    cases = own_cases(tmp_path / "images", tmp_path / "masks", classifier).cases
    for case, phantom in zip(cases, mammograms(3, 3, MammogramSettings()), strict=True):
        assert case.truth is not None
        np.testing.assert_array_equal(case.truth, phantom_case(phantom, classifier.inputs).truth)

    empty = mask.with_array(np.zeros_like(mask.array))
    write_image(empty, tmp_path / "masks" / f"{cases[0].id}.nrrd")
    again = own_cases(tmp_path / "images", tmp_path / "masks", classifier)
    assert [case.id for case in again.cases] == [case.id for case in cases[1:]]
    assert again.left_out == (f"{cases[0].id}: its mask is empty where the classifier looks",)

    for case in cases:
        write_image(empty, tmp_path / "masks" / f"{case.id}.nrrd")
    with pytest.raises(ImageError, match="No mask shows anything"):
        own_cases(tmp_path / "images", tmp_path / "masks", classifier)
    (tmp_path / "masks" / f"{cases[0].id}.nrrd").unlink()
    with pytest.raises(ImageError, match=f"1 images have no mask, such as {cases[0].id}"):
        own_cases(tmp_path / "images", tmp_path / "masks", classifier)
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="no image in none"):
        own_cases(tmp_path / "none", tmp_path / "masks", classifier)
