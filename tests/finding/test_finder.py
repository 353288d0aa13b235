"""Finds lie where the bright squares are, in any geometry, and the same thing is found once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import BundleError, CancelledError, ClassifierError, ImageError
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from support.box_images import FLAT, PATCHES, SOLID, image_with, turned
from support.square_models import SquareClassifier


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(-180, 180), min_size=3, max_size=3),
    st.floats(0.3, 1.5),
    st.tuples(st.floats(0.15, 0.4), st.floats(0.6, 0.85)),
)
@example([0.0, 0.0, 0.0], 1.4265691232506226, (0.296875, 0.6875))  # both boxes alike to single precision
def test_two_boxes_are_found_where_they_are(angles: list[float], spacing: float, places: tuple[float, float]) -> None:
    shape = (round(60 / spacing), round(50 / spacing), 1)
    geometry = turned(shape, (spacing, spacing, 1.0), angles)
    wanted = [(place * shape[0], place * shape[1], 0) for place in places]
    finds = Finder(SquareClassifier(FLAT)).find(image_with(wanted, geometry, 2))
    bright = [find for find in finds if find.probability > 0.5]
    assert [find.rank for find in finds] == list(range(1, len(finds) + 1))
    assert [find.probability for find in finds] == sorted((find.probability for find in finds), reverse=True)
    for place in wanted:
        ras = geometry.to_ras(np.array(place))
        nearest = min(bright, key=lambda find: float(np.linalg.norm(np.array(find.centre_ras) - ras)))
        assert np.linalg.norm(np.array(nearest.centre_ras) - ras) < 5
        assert all(a <= at < b for a, at, b in zip(nearest.low, place, nearest.high, strict=True))
        assert nearest.size_mm[:2] == pytest.approx((8, 8))
    low, high = np.array([find.low for find in finds]), np.array([find.high for find in finds])
    assert (low >= 0).all()
    assert (high <= shape).all()


def test_a_volume_is_searched_in_three_dimensions() -> None:
    geometry = turned((40, 36, 20), (0.8, 0.8, 1.6), [10, -20, 70])
    place = (28, 9, 12)
    found = Finder(SquareClassifier(SOLID)).find(image_with([place], geometry, 3))[0]
    assert found.probability > 0.5
    assert np.linalg.norm(np.array(found.centre_ras) - geometry.to_ras(np.array(place))) < 5


def test_one_thing_is_found_once_and_what_is_found_does_not_overlap() -> None:
    geometry = Geometry((64, 64, 1), np.eye(4))
    finds = Finder(SquareClassifier(FLAT)).find(image_with([(30, 30)], geometry, 2, edge=7), most=1000)
    assert sum(find.probability > 0.5 for find in finds) == 1
    for one in finds:
        for other in finds[one.rank :]:
            shared = [
                min(b, d) - max(a, c) for a, b, c, d in zip(one.low, one.high, other.low, other.high, strict=True)
            ]
            common = float(np.prod(np.maximum(shared, 0)))
            assert common / (2 * 64 - common) <= 0.1 + 1e-6


def test_only_foreground_is_looked_at() -> None:
    geometry = Geometry((64, 64, 1), np.eye(4))
    image = image_with([(12, 12)], geometry, 2)
    image.array[:, 24:] = 0
    everything = CountingBlackBox(SquareClassifier(replace(FLAT, patches=replace(PATCHES, foreground=None))))
    foreground = CountingBlackBox(SquareClassifier(FLAT))
    assert Finder(foreground).find(image)[0].low == Finder(everything).find(image)[0].low
    assert foreground.queries < 0.5 * everything.queries


def test_what_cannot_be_searched_is_told_in_words() -> None:
    geometry = Geometry((32, 32, 4), np.eye(4))
    volume = image_with([(16, 16, 2)], geometry, 3)
    with pytest.raises(ClassifierError, match="looks at whole images"):
        Finder(SquareClassifier(InputSpec((8, 8))))
    with pytest.raises(ClassifierError, match="no class 'purple'"):
        Finder(SquareClassifier(replace(FLAT, patches=replace(PATCHES, wanted=("purple",)))))
    with pytest.raises(BundleError, match="how large"):
        InputSpec((8, 8), patches=PATCHES)
    finder = Finder(SquareClassifier(FLAT))
    with pytest.raises(ImageError, match="Choose the slice"):
        finder.find(volume)
    assert finder.find(volume, slice_index=2)[0].probability > 0.5
    dark = replace(PATCHES, foreground=0.95)
    with pytest.raises(ImageError, match=r"tissue above 0\.95"):
        Finder(SquareClassifier(replace(FLAT, patches=dark))).find(volume, slice_index=2)
    with pytest.raises(ImageError, match="constant"):
        finder.find(Image(np.zeros((1, 32, 32, 1), np.float32), Geometry((32, 32, 1), np.eye(4))))


def test_it_can_be_cancelled_between_batches() -> None:
    def stop(fraction: float) -> None:
        if fraction > 0:
            raise CancelledError("enough")

    counted = CountingBlackBox(SquareClassifier(FLAT))
    with pytest.raises(CancelledError):
        Finder(counted).find(image_with([(50, 50)], Geometry((200, 200, 1), np.eye(4)), 2), progress=stop)
    assert 0 < counted.queries < 500


def test_an_image_smaller_than_a_patch_is_refused_with_both_sizes() -> None:
    image = image_with([(2, 2)], Geometry((6, 40, 1), np.eye(4)), 2)
    with pytest.raises(ImageError, match=r"6 x 40 mm.* smaller than the patches of 8 x 8 mm"):
        Finder(SquareClassifier(FLAT)).find(image)


def test_grey_suits_a_classifier_of_colours() -> None:
    image = image_with([(30, 30)], Geometry((64, 64, 1), np.eye(4)), 2)
    (first, *_) = Finder(SquareClassifier(replace(FLAT, channels=3))).find(image)
    assert first == Finder(SquareClassifier(FLAT)).find(image)[0]


@pytest.mark.parametrize("most", [1, 3000])
def test_looking_slab_by_slab_tells_the_same(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    geometry = turned((61, 47, 20), (0.8, 0.7, 1.6), [10, -20, 70])
    image = image_with([(28, 9, 12), (50, 30, 5)], geometry, 3)
    reported: list[float] = []
    whole = Finder(SquareClassifier(SOLID)).score(image)
    monkeypatch.setattr("otherwise.finding.sampling.MOST_VOXELS", most)
    parts = Finder(SquareClassifier(SOLID)).score(image, progress=reported.append)
    order, again = (np.lexsort(scores.starts.T) for scores in (whole, parts))
    np.testing.assert_array_equal(whole.starts[order], parts.starts[again])
    np.testing.assert_allclose(whole.answers[order], parts.answers[again], atol=1e-4)
    assert reported == sorted(reported)
    assert reported[-1] == 1.0
