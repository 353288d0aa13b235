"""Influence: windows that cover everything once, effects that are where the classifier looks, minimal composites."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from otherwise.blackbox.protocol import InputSpec
from otherwise.influence.along_path import effect_along_path
from otherwise.influence.effect import (
    EffectMap,
    measure_effect,
    measured_effect,
    put_in_and_leave_out,
    shown_effect,
    windows,
)
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.parts import composite, soft
from otherwise.influence.regions import candidate_regions, measure_regions, reconstruction_floor


@dataclass(frozen=True)
class SpotClassifier:
    """Looks at one spot and at nothing else."""

    spot: tuple[slice, ...]
    inputs: InputSpec
    name: str = "spot"
    version: str = "1" * 64
    classes: tuple[str, ...] = ("no", "yes")
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        mean = images[(slice(None), 0, *self.spot)].reshape(len(images), -1).mean(axis=1).astype(np.float64)
        yes = 1 / (1 + np.exp(-12 * (mean - 0.5)))
        return np.stack([1 - yes, yes], axis=1)


def scene(size: tuple[int, ...]) -> tuple[SpotClassifier, np.ndarray, np.ndarray, np.ndarray]:
    """A classifier, an image, a counterfactual that changes everywhere, and the spot that counts as a mask."""
    spot = tuple(slice(edge // 8, edge // 8 + max(2, edge // 5)) for edge in size)
    classifier = SpotClassifier(spot, InputSpec(size))
    image = np.full((1, *size), 0.2, np.float32)
    truth = np.zeros(size, bool)
    truth[spot] = True
    return classifier, image, image + 0.6, truth


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(3, 30), min_size=2, max_size=3), st.integers(1, 60))
def test_windows_cover_every_voxel_exactly_once(size: list[int], most: int) -> None:
    drawn = list(windows(tuple(size), most))
    assert len(drawn) <= most
    np.testing.assert_allclose(np.sum(drawn, axis=0), 1.0, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 40), (16, 20, 12)])
def test_the_effect_is_strongest_where_the_classifier_looks(size: tuple[int, ...]) -> None:
    classifier, image, counterfactual, truth = scene(size)
    effect = measure_effect(classifier, image, counterfactual, target=1).values
    near = ndimage.binary_dilation(truth, iterations=2)
    assert near[np.unravel_index(effect.argmax(), size)]
    assert effect[truth].mean() > 4 * np.abs(effect[~near]).mean()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(40, 70), min_size=2, max_size=2), st.data())
def test_a_feature_smaller_than_the_windows_is_found_to_the_voxel(size: list[int], data: st.DataObject) -> None:
    """Such as a burned-in marker, wherever it lies between the windows' centres."""
    corner = [data.draw(st.integers(0, edge - 4)) for edge in size]
    spot = tuple(slice(at, at + 4) for at in corner)
    rng = np.random.default_rng(0)
    image = np.full((1, *size), 0.2, np.float32)
    counterfactual = image + 0.02 * rng.random(image.shape, dtype=np.float32)  # a change of no consequence, everywhere
    counterfactual[(0, *spot)] = 0.8
    classifier = SpotClassifier(spot, InputSpec(tuple(size)))
    effect = measure_effect(classifier, image, counterfactual, target=1).values
    truth = np.zeros(size, bool)
    truth[spot] = True
    assert truth[np.unravel_index(effect.argmax(), effect.shape)]
    assert effect[truth].sum() > 0.5 * effect.sum()
    shown = shown_effect(effect)
    assert truth[np.unravel_index(shown.argmax(), shown.shape)]
    assert shown[ndimage.binary_dilation(truth, np.ones((5, 5)))].sum() > 0.5 * shown.sum()
    assert float(shown.sum()) == pytest.approx(float(effect.sum()), rel=1e-4)


def test_the_map_sums_to_what_its_windows_were_measured_to_do() -> None:
    classifier, image, counterfactual, truth = scene((24, 20))
    every = np.stack(list(windows((24, 20), 30)))
    asked = every[np.argsort([-window[truth].sum() for window in every])[:4]]
    counterfactual = composite(image, counterfactual, asked.sum(axis=0) > 0.999)  # nothing changes elsewhere
    effect = measure_effect(classifier, image, counterfactual, target=1, most=30).values
    alone, without = put_in_and_leave_out(classifier, image, counterfactual, asked)
    before, after = classifier.predict(np.stack([image, counterfactual]))
    measured = measured_effect(before, after, alone, without, 1)
    assert measured.sum() > 1
    assert float(effect.sum()) == pytest.approx(float(measured.sum()), rel=1e-4)


def test_no_change_has_no_effect_and_costs_no_query() -> None:
    _, image, _, _ = scene((24, 24))

    class Silent:
        def predict(self, images: np.ndarray) -> np.ndarray:
            raise AssertionError("asked")

    assert not measure_effect(Silent(), image, image.copy(), target=1).values.any()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(48, 40), (16, 20, 12)])
def test_the_minimal_part_flips_and_is_small(size: tuple[int, ...]) -> None:
    classifier, image, counterfactual, truth = scene(size)
    effect = measure_effect(classifier, image, counterfactual, target=1).values
    mask = minimal_mask(classifier, image, counterfactual, effect, target=1)
    assert classifier.predict(composite(image, counterfactual, soft(mask))[None])[0].argmax() == 1
    assert mask.mean() < 0.5
    assert mask[truth].mean() > mask[~truth].mean()


def test_the_spot_is_one_necessary_and_sufficient_region() -> None:
    classifier, image, counterfactual, truth = scene((48, 40))
    effect = measure_effect(classifier, image, counterfactual, target=1).values
    floor = reconstruction_floor(image, image)
    first, *_ = measure_regions(classifier, image, counterfactual, effect, floor, target=1)
    assert first.necessary
    assert first.sufficient
    assert first.above_floor
    assert first.effect > 3
    assert (first.mask & truth).sum() > truth.sum() / 2


def test_a_change_below_the_reconstruction_error_is_marked() -> None:
    classifier, image, counterfactual, _ = scene((48, 40))
    effect = measure_effect(classifier, image, counterfactual, target=1).values
    floor = reconstruction_floor(image, image + 0.7)
    regions = measure_regions(classifier, image, counterfactual, effect, floor, target=1)
    assert regions
    assert not any(region.above_floor for region in regions)


def test_regions_are_found_strongest_first_and_none_where_nothing_speaks_for_the_target() -> None:
    effect = np.zeros((20, 20), np.float32)
    effect[2:4, 2:4], effect[10:14, 10:14] = 1.0, 0.9
    first, second = candidate_regions(effect)
    assert first[11, 11]
    assert second[2, 2]
    assert candidate_regions(-effect) == []


def test_the_further_an_effect_spreads_the_blunter_it_is_shown() -> None:
    """So that a letter keeps its strokes, and the grain of a nodule's texture becomes the nodule."""
    rng = np.random.default_rng(0)
    stroke, grain = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    stroke[20:27, 20:22] = stroke[25:27, 20:25] = 1
    grain[16:48, 16:48] = rng.random((32, 32)) < 0.5
    letter, nodule = shown_effect(stroke), shown_effect(grain)
    assert (letter > letter.max() / 2)[stroke > 0].mean() > 0.8
    assert (letter > letter.max() / 2)[stroke == 0].sum() < 10
    assert nodule[24:40, 24:40].std() < 0.3 * grain[24:40, 24:40].std()
    for shown, effect in ((letter, stroke), (nodule, grain)):
        assert shown.sum() == pytest.approx(effect.sum(), rel=1e-3)
    assert not shown_effect(np.zeros((8, 8, 8), np.float32)).any()


@pytest.mark.parametrize("needed", [0.0, 0.003, 0.05, 0.4, 0.99, 2.0])
def test_the_smallest_part_is_found_with_no_question_beyond_it(needed: float) -> None:
    size = (24, 20)
    effect = np.arange(480, dtype=np.float32)[::-1].reshape(size) + 1
    dark, bright = np.zeros((1, *size), np.float32), np.ones((1, *size), np.float32)

    class Share:
        """Says ``much`` from a share of bright voxels on, and counts what it is asked."""

        name, version, classes, multi_label = "share", "1", ("little", "much"), False
        inputs = InputSpec(size)
        asked = 0

        def predict(self, images: np.ndarray) -> np.ndarray:
            self.asked += len(images)
            second = np.where(images.mean(axis=(1, 2, 3)) >= needed, 0.9, 0.1)
            return np.stack([1 - second, second], axis=1)

    classifier = Share()
    mask = minimal_mask(classifier, dark, bright, effect, target=1)
    assert classifier.asked <= 16
    if needed == 0.0:
        assert classifier.asked <= 4, "the smallest part of each round flips"
    if needed < 1:
        near = float(soft(mask).mean())
        assert near >= needed * 0.8
        assert near <= max(1.35 * needed + 0.03, 0.02), "no much larger part than needed"
    else:
        assert mask.all(), "no part was enough"


@pytest.mark.parametrize("size", [(48, 40), (16, 20, 12)])
def test_a_lesser_edit_sharpens_the_effect_of_one_that_also_changes_the_rest(size: tuple[int, ...]) -> None:
    classifier, image, counterfactual, truth = scene(size)
    everywhere = measure_effect(classifier, image, counterfactual, target=1)
    lesser = image + 0.3 * ndimage.gaussian_filter(truth.astype(np.float32), 0.5)
    together = effect_along_path(classifier, image, everywhere, lesser, target=1)

    def inside(effect: np.ndarray) -> float:
        return float(np.abs(effect)[truth].sum() / np.abs(effect).sum())

    assert inside(together) > inside(everywhere.values)
    assert np.abs(together).sum() == pytest.approx(np.abs(everywhere.values).sum(), rel=1e-4)


def test_an_edit_without_a_lesser_one_or_with_exact_answers_keeps_its_effect() -> None:
    classifier, image, counterfactual, _ = scene((48, 40))
    effect = measure_effect(classifier, image, counterfactual, target=1)
    unchanged = effect_along_path(classifier, image, effect, image, target=1)
    np.testing.assert_allclose(unchanged, effect.values, rtol=1e-5)
    exact = EffectMap(effect.values, effect.located, saturated=True)
    assert effect_along_path(classifier, image, exact, counterfactual, target=1) is exact.values


@pytest.mark.parametrize("size", [(48, 40), (16, 20, 12)])
def test_a_sensitivity_says_where_within_a_window_the_change_counts(size: tuple[int, ...]) -> None:
    """The sum that was measured stays, even where the sensitivity is wrong."""
    classifier, image, counterfactual, truth = scene(size)
    plain = measure_effect(classifier, image, counterfactual, target=1).values

    def known(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        return truth.astype(np.float32)

    found = measure_effect(classifier, image, counterfactual, target=1, sensitivity=known).located
    near = ndimage.binary_dilation(truth, iterations=1)
    assert found[near].sum() > 0.8 * found.sum() > plain[near].sum()
    assert found.sum() == pytest.approx(plain.sum(), rel=1e-4)

    for wrong in (np.zeros(size, np.float32), 1 - truth.astype(np.float32)):
        misled = measure_effect(classifier, image, counterfactual, target=1, sensitivity=lambda *_, w=wrong: w).located
        assert misled.sum() == pytest.approx(plain.sum(), rel=1e-4)
        assert np.isfinite(misled).all()
    unknown = measure_effect(
        classifier, image, counterfactual, target=1, sensitivity=lambda *_: np.zeros(size, np.float32)
    )
    np.testing.assert_allclose(unknown.located, plain, rtol=1e-5)
    np.testing.assert_array_equal(unknown.values, plain)


def test_the_shown_map_keeps_strokes_and_blurs_what_is_spread() -> None:
    stroke, blob = np.zeros((2, 64, 64), np.float32)
    stroke[20:26, 20:22] = 1
    blob[16:48, 16:48] = np.random.default_rng(0).random((32, 32)) < 0.3
    np.testing.assert_allclose(shown_effect(stroke), stroke, atol=1e-6)
    assert shown_effect(blob).std() < 0.6 * blob.std()
    np.testing.assert_array_less(shown_effect(stroke, of_value=True).max(), 1.0, "of a value every edge is blurred")
    assert shown_effect(blob, of_value=True).std() > shown_effect(blob).std()
