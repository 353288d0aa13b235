"""What phantoms promise: reproducible, honest about what decides, and confounded only on request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import ndimage

from otherwise.errors import ImageError
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.nodule import NoduleSettings, nodules
from otherwise.phantoms.oblique import turned
from otherwise.phantoms.phantom import CLASSES, Phantom
from otherwise.phantoms.signs import SIGNS, sign_mammograms

SMALL_MAMMOGRAM = MammogramSettings(size=(48, 48))
SMALL_NODULE = NoduleSettings(size=(24, 24, 16), spacing=(1.2, 1.2, 1.6))
Draw = Callable[..., Iterator[Phantom]]


def both(settings: dict[str, object] | None = None) -> list[tuple[Draw, MammogramSettings | NoduleSettings]]:
    more = settings or {}
    return [
        (mammograms, dataclasses.replace(SMALL_MAMMOGRAM, **more)),
        (nodules, dataclasses.replace(SMALL_NODULE, **more)),
    ]


@pytest.mark.parametrize(("draw", "settings"), both({"confound": 0.5}))
def test_a_phantom_depends_on_seed_and_number_alone(draw: Draw, settings: object) -> None:
    series = list(draw(3, 6, settings))
    (fifth,) = draw(3, 1, settings, start=4)
    (other,) = draw(4, 1, settings, start=4)

    assert fifth.image.sha256 == series[4].image.sha256
    assert fifth.counterfactual.sha256 == series[4].counterfactual.sha256
    assert fifth.image.id == series[4].image.id
    assert fifth.attributes == series[4].attributes
    assert all(np.array_equal(fifth.masks[name], series[4].masks[name]) for name in fifth.masks)
    assert other.image.sha256 != fifth.image.sha256
    assert len({phantom.image.sha256 for phantom in series}) == 6


def test_the_counterfactual_differs_only_at_the_decisive_feature(phantoms: list[Phantom]) -> None:
    assert {phantom.label for phantom in phantoms} == set(CLASSES)
    for phantom in phantoms:
        changed = (phantom.counterfactual.array != phantom.image.array)[0]
        # Blur carries an edge a few voxels on, and the faint ends of spicules lie below the mask's threshold.
        near = ndimage.binary_dilation(phantom.masks["margin"], iterations=4)
        difference = np.abs(phantom.counterfactual.array.astype(float) - phantom.image.array)[0]
        close = ndimage.binary_dilation(phantom.masks[phantom.decisive], iterations=3)

        assert changed.any()
        assert not changed[~near].any()
        assert difference[close].sum() > 0.95 * difference.sum()


def test_each_sign_is_drawn_as_often_as_told_and_is_all_that_differs() -> None:
    series = list(sign_mammograms(3, 400, MammogramSettings()))
    for name, share in SIGNS.items():
        assert np.mean([p.attributes["would_be"] == name for p in series]) == pytest.approx(share, abs=0.07)
    assert np.mean([p.label == "malignant" for p in series]) == pytest.approx(0.5, abs=0.07)
    for phantom in series[:60]:
        difference = (phantom.image.array.astype(float) - phantom.counterfactual.array)[0]
        malignant, sign = phantom.label == "malignant", phantom.attributes["would_be"]
        near = ndimage.binary_dilation(phantom.masks["place"], iterations=4)
        assert (difference.sum() > 0) == malignant
        assert np.abs(difference[near]).sum() > 0.95 * np.abs(difference).sum(), sign
        assert np.abs(difference).max() > 0.03, "it can be seen"
        assert [name for name in SIGNS if phantom.masks[name].any()] == ([sign] if malignant else [])
        assert phantom.decisive == (sign if malignant else "place")


def test_malignant_images_are_denser_around_the_mass_than_their_counterfactuals(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        difference = (phantom.image.array.astype(float) - phantom.counterfactual.array)[0]
        brighter = difference.sum() > 0

        assert brighter == (phantom.label == "malignant")


def test_masks_tell_what_is_in_the_image(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        masks, attributes = phantom.masks, phantom.attributes
        body = masks["mass" if "mass" in masks else "nodule"]
        voxels = phantom.image.array[0]

        assert body.any()
        assert voxels[body].mean() > voxels.mean()
        assert masks[phantom.decisive].any()
        assert masks["spicules"].any() == (phantom.label == "malignant") == (attributes["spicules"] > 0)
        assert masks["marker"].any() == attributes["marker"]
        assert not (masks["spicules"] & body).any() or masks["spicules"].sum() > (masks["spicules"] & body).sum()
        assert not (masks["marker"] & masks["margin"]).any()
        assert phantom.decisive == ("spicules" if phantom.label == "malignant" else "margin")
        if "breast" in masks:
            features = body | masks["spicules"] | masks["lines"] | masks["calcifications"] | masks["margin"]
            assert not (features & ~masks["breast"]).any()
            assert phantom.image.dimension == 2
            assert voxels.min() >= 0
            assert voxels.max() <= 1
        else:
            assert -900 < np.median(voxels[~(body | masks["pleura"] | masks["vessels"])]) < -750


@pytest.mark.parametrize(("draw", "settings"), both())
def test_without_confound_there_is_no_marker(draw: Draw, settings: object) -> None:
    assert not any(phantom.attributes["marker"] for phantom in draw(5, 10, settings))


@pytest.mark.parametrize(("draw", "settings"), both({"confound": 1.0}))
def test_fully_confounded_the_marker_is_there_exactly_if_malignant(draw: Draw, settings: object) -> None:
    for phantom in draw(5, 20, settings):
        assert phantom.masks["marker"].any() == (phantom.label == "malignant")
        # The true counterfactual keeps the marker: it is no part of the disease.
        kept = phantom.masks["marker"]
        assert np.array_equal(phantom.image.array[0][kept], phantom.counterfactual.array[0][kept])


def test_half_confounded_the_marker_follows_in_three_of_four() -> None:
    settings = MammogramSettings(size=(32, 32), confound=0.5)
    agrees = [p.attributes["marker"] == (p.label == "malignant") for p in mammograms(11, 300, settings)]

    # 0.5 + 0.5 * 0.5; four standard errors of 300 draws are 0.1.
    assert abs(np.mean(agrees) - 0.75) < 0.1


def test_both_classes_are_about_equally_frequent() -> None:
    share = np.mean([p.label == "malignant" for p in mammograms(12, 300, MammogramSettings(size=(32, 32)))])

    assert abs(share - 0.5) < 0.11


def test_the_same_seed_shows_the_same_breast_with_and_without_marker() -> None:
    (plain,) = mammograms(5, 1, SMALL_MAMMOGRAM)
    (marked,) = mammograms(5, 1, dataclasses.replace(SMALL_MAMMOGRAM, confound=1.0))
    elsewhere = ~marked.masks["marker"]

    assert np.array_equal(plain.image.array[0][elsewhere], marked.image.array[0][elsewhere])


def test_size_says_nothing_about_the_class() -> None:
    drawn = list(mammograms(13, 200, MammogramSettings(size=(32, 32))))
    sizes = {label: [p.attributes["size_mm"] for p in drawn if p.label == label] for label in CLASSES}
    error = np.hypot(*(np.std(values) / np.sqrt(len(values)) for values in sizes.values()))

    assert abs(np.mean(sizes["benign"]) - np.mean(sizes["malignant"])) < 4 * error


def test_the_field_of_view_stays_when_the_matrix_grows() -> None:
    for size in ((64, 64), (200, 120)):
        (phantom,) = mammograms(1, 1, MammogramSettings(size=size))
        assert phantom.image.geometry.shape == (*size, 1)
        assert max(size) * phantom.image.geometry.spacing[0] == pytest.approx(48.0)


def test_turning_a_phantom_keeps_its_voxels_and_spacing(twelve_nodules: list[Phantom]) -> None:
    straight = twelve_nodules[0]
    askew = turned(straight, np.random.default_rng(1))

    assert np.array_equal(askew.image.array, straight.image.array)
    assert askew.image.geometry.spacing == pytest.approx(straight.image.geometry.spacing)
    assert np.linalg.det(askew.image.geometry.affine) == pytest.approx(np.linalg.det(straight.image.geometry.affine))
    assert np.abs(askew.image.geometry.affine[:3, :3]).min() > 1e-3
    assert askew.counterfactual.geometry.same_as(askew.image.geometry)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (MammogramSettings, {"size": (8, 8)}),
        (MammogramSettings, {"size": (40, 400)}),
        (MammogramSettings, {"confound": 1.5}),
        (MammogramSettings, {"field_of_view": 2.0}),
        (NoduleSettings, {"size": (4, 48, 24)}),
        (NoduleSettings, {"size": (10, 48, 24)}),
        (NoduleSettings, {"confound": -0.1}),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_hint(settings: type, values: dict[str, object]) -> None:
    with pytest.raises(ImageError) as refused:
        settings(**values)
    assert refused.value.hint


def test_a_phantom_whose_parts_do_not_fit_is_refused(twelve_mammograms: list[Phantom]) -> None:
    phantom = twelve_mammograms[0]
    with pytest.raises(ImageError):
        dataclasses.replace(phantom, decisive="nothing")
    with pytest.raises(ImageError):
        dataclasses.replace(phantom, masks={**phantom.masks, "mass": np.zeros((3, 3, 1), dtype=bool)})
