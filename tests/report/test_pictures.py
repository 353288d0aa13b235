"""Pictures show what the arrays hold, the way radiologists expect it."""

from __future__ import annotations

import colorsys
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry, Image
from otherwise.report import figures, words
from otherwise.report.colours import FIRST_ANSWER, TARGET, red_green_blue
from otherwise.report.panels import Panels, typical_floor
from otherwise.report.path_plot import path_plot
from otherwise.report.planes import planes_through, strongest_voxel

Explain = Callable[..., Explanation]


@given(
    axes=st.sampled_from(list(permutations(range(3)))),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    angles=st.tuples(*[st.floats(-0.4, 0.4)] * 2),
    voxel=st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)),
)
def test_planes_look_alike_however_the_grid_is_stored(
    axes: tuple[int, ...], signs: tuple[float, ...], angles: tuple[float, float], voxel: tuple[int, int, int]
) -> None:
    """Right is left, anterior and superior are on top, and all planes meet the voxel."""
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) @ np.diag([1.0, 0.5, 3.0]))[list(axes)]
    a, b = angles
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine[:3, :3] = turn @ tilt @ affine[:3, :3]
    geometry = Geometry((5, 6, 7), affine)
    places = geometry.to_ras(np.stack(np.indices(geometry.shape), axis=-1))
    marked = np.zeros(geometry.shape)
    marked[voxel] = 1

    planes = planes_through(geometry, 3, voxel)

    assert planes[0].axis == 2
    assert {plane.name for plane in planes} == {"axial", "coronal", "sagittal"}
    for plane in planes:
        across, down = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane.name]
        x, y = (plane.cut(places[..., axis]) for axis in (across, down))
        assert x[0, 0] > x[0, -1]
        assert y[0, 0] > y[-1, 0]
        assert plane.cut(marked).sum() == 1


def test_plane_image_has_rows_along_j() -> None:
    geometry = Geometry((3, 2, 1), np.diag([-0.5, -2.0, 1.0, 1.0]))
    (plane,) = planes_through(geometry, 2, (0, 0, 0))
    volume = np.arange(6).reshape(3, 2, 1)
    np.testing.assert_array_equal(plane.cut(volume), volume[..., 0].T)
    np.testing.assert_array_equal(plane.cut(volume[None]), volume[None, ..., 0].swapaxes(1, 2))
    assert (plane.width_mm, plane.height_mm) == (1.5, 4.0)


def test_panels_have_the_patients_proportions(explain: Explain) -> None:
    explanation = explain(3)
    axial, coronal, _ = Panels(explanation).image(explanation.volumes.original, "x")
    assert (axial.width, round(axial.height, 1)) == (100, round(100 * 44 / 48, 1))
    assert coronal.height / coronal.width == pytest.approx((14 * 2.5) / (48 * 0.7))
    assert axial.letters == ("R", "L", "A", "P")


def test_slices_go_through_the_strongest_place_of_the_first_region(explain: Explain) -> None:
    volumes = explain(3).volumes
    voxel = strongest_voxel(explain(3))
    assert volumes.regions.array[(0, *voxel)] == 1
    inside = volumes.regions.array[0] == 1
    assert abs(volumes.effect.array[(0, *voxel)]) == np.abs(volumes.effect.array[0][inside]).max()


def test_what_is_below_the_floor_of_its_place_stays_grey() -> None:
    background = np.full((1, 4, 3), 100, np.uint8)
    values, floor = np.array([[0.5, 0.5, -0.5, -0.5]]), np.array([[0.4, 0.6, 0.4, 0.6]])
    pixels = figures.overlay(background, values, 1.0, floor, figures.CHANGE_HUES)
    coloured = (pixels != pixels[..., :1]).any(axis=-1)
    assert coloured.tolist() == [[True, False, True, False]]


def test_floor_of_the_colour_bar_does_not_depend_on_what_lies_outside_of_the_field(explain: Explain) -> None:
    floor = explain().volumes.floor
    wide = np.pad(floor.array, ((0, 0), (30, 10), (0, 50), (0, 0)))
    assert typical_floor(Image(wide, Geometry(wide.shape[1:], floor.geometry.affine))) == typical_floor(floor) > 0


def test_a_classifier_that_saw_one_slice_is_shown_with_that_slice_alone(explain: Explain) -> None:
    panels = Panels(replace(explain(3), slice_index=2))
    assert [(plane.axis, plane.index) for plane in panels.planes] == [(2, 2)]
    assert len(Panels(explain(3)).planes) == 3


def test_overlay_tells_signs_apart_and_keeps_grey_below_the_floor() -> None:
    background = np.full((1, 4, 3), 200, np.uint8)
    pixels = figures.overlay(background, np.array([[-1.0, -0.05, 0.05, 1.0]]), 1.0, 0.1, figures.CHANGE_HUES)
    violet, below, also, green = pixels[0].astype(int)
    assert violet[2] > violet[1]
    assert green[1] > green[0]
    assert (below == below[0]).all()
    assert (also == below).all()


def test_one_colour_has_one_meaning() -> None:
    """The effect has the hues of the classes that it speaks for or against; a change of intensity has none of them."""

    def hue(colour: Sequence[float]) -> float:
        return colorsys.rgb_to_hsv(*(value / max(1, *colour) for value in colour))[0]

    classes = [hue(red_green_blue(colour)) for colour in (FIRST_ANSWER, TARGET)]
    effect = figures.EFFECT_HUES
    for pair, own in zip((effect.negative, effect.positive), classes, strict=True):
        assert all(abs(hue(colour) - own) < 0.06 for colour in pair)
    change = figures.CHANGE_HUES
    for colour in (*change.negative, *change.positive):
        assert min(abs(hue(colour) - own) for own in classes) > 0.1


def test_colour_bar_is_grey_in_the_middle_only() -> None:
    bar = figures.colour_bar(2.0, 0.5, figures.EFFECT_HUES, width=256)[0].astype(int)
    grey = np.ptp(bar, axis=1) == 0
    np.testing.assert_array_equal(np.flatnonzero(grey), np.arange(96, 160))


def test_window_survives_flat_images() -> None:
    low, high = figures.intensity_window(np.zeros((1, 4, 4)))
    assert low < high
    assert figures.intensity_window(np.arange(1001.0)) == pytest.approx((5, 995))


def test_grey_shows_three_channels_in_colour() -> None:
    plane = np.zeros((3, 2, 2))
    plane[0] = 1.0
    assert figures.grey(plane, (0, 1))[0, 0].tolist() == [255, 0, 0]
    assert figures.grey(plane[:2], (0, 2))[0, 0].tolist() == [128, 128, 128]


def test_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Picture.open(io.BytesIO(figures.png(pixels)))), pixels)
    assert Picture.open(io.BytesIO(figures.png(pixels[..., :1].repeat(3, axis=2)))).mode == "L"


def test_reducing_keeps_small_peaks_and_means() -> None:
    plane = np.zeros((1000, 2401))
    plane[501, 2400] = -3
    small = figures.reduce(plane, 800, peak=True)
    assert small.shape == (250, 601)
    assert small.min() == -3
    assert figures.reduce(np.full((3, 10, 10), 7.0), 5).tolist() == np.full((3, 5, 5), 7.0).tolist()


def test_outline_surrounds_a_mask_in_the_drawings_units() -> None:
    mask = np.zeros((4, 8), bool)
    mask[1:3, 2:6] = True
    points = np.array([[float(x) for x in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", _path(mask))])
    assert points.min(axis=0).tolist() == [25, 12.5]
    assert points.max(axis=0).tolist() == [75, 37.5]
    assert figures.outline(np.zeros((4, 8), bool), 100, 50) == ""


def _path(mask: np.ndarray) -> str:
    return figures.outline(mask, 100, 50)


def test_plot_takes_any_class_name_and_any_path() -> None:
    svg, positions = path_plot([0.0], [{"<b>$x$": 0.4, "_y": 0.5, "z": 0.1}], ["<b>$x$", "_y"])
    assert "&lt;b&gt;$x$" in svg
    assert 'id="step"' in svg
    assert len(positions) == 1
    svg, positions = path_plot([0, 1, 3], [{"a": 0.2, "b": 0.8}] * 3, ["b", "a"])
    assert positions[2] - positions[1] == pytest.approx(2 * (positions[1] - positions[0]))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (1.0, "1.00"), (0.001, "<0.01"), (0.999, ">0.99"), (0.934, "0.93")]
)
def test_probabilities_pretend_no_certainty(value: float, text: str) -> None:
    assert words.probability(value) == text


def test_words_for_numbers() -> None:
    assert words.share(0.0004) == "<0.1 %"
    assert words.share(0.123) == "12 %"
    assert words.signed(-1.5) == "−1.50"
    assert words.moment("2026-11-22T09:14:03+00:00") == "22 November 2026, 09:14 UTC"
    assert words.moment("yesterday") == "yesterday"
    assert words.answers({"a": 0.6, "b": 0.7}, "a")
    assert not words.answers({"a": 0.4, "b": 0.6}, "a")
