"""A patch of a large image is explained in its place, and nothing outside of it changes."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.explain.explainer import Explainer
from otherwise.explain.placed import around, explain_find
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.headline import answer, question
from otherwise.report.paper import WIDTH, letters_across
from otherwise.report.words import with_probability
from support.square_models import SquareClassifier, eager_agent

PATCHES = PatchSpec(("bright",), foreground=0.01)


def setting(size: tuple[int, ...], shape: tuple[int, int, int], place: tuple[int, int, int]):
    """A black box of patches with its agent, and a dark image with one box that is just bright enough."""
    classifier = SquareClassifier(InputSpec(size, spacing=(1.0,) * len(size), patches=PATCHES))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [15, -40, 100], degrees=True).as_matrix() @ np.diag([0.5, 0.5, 0.5])
    affine[:3, 3] = [4, -50, 31]
    array = np.random.default_rng(2).uniform(0.2, 0.3, (1, *shape)).astype(np.float32)
    half = 3 * size[0] // 4
    window = tuple(slice(max(0, p - half), p + half) for p in place)
    array[(0, *window)] += 0.45
    image = Image(array, Geometry(shape, affine), "whole", 2 if shape[2] == 1 else 3)
    return Explainer(classifier, eager_agent(classifier)), Finder(classifier), image


@pytest.mark.parametrize(
    ("size", "shape", "place"),
    [
        ((16, 16), (120, 90, 1), (70, 30, 0)),
        ((16, 16), (120, 90, 5), (70, 30, 3)),
        ((8, 8, 8), (60, 50, 40), (24, 32, 16)),
    ],
    ids=["2-D", "a slice of a volume", "3-D"],
)
def test_a_find_is_explained_in_its_place(size, shape, place, tmp_path) -> None:
    explainer, finder, image = setting(size, shape, place)
    slice_index = place[2] if len(size) == 2 and shape[2] > 1 else None
    scores = finder.score(image, slice_index)
    find = finder.rank(scores, 1)
    assert find.probabilities["bright"] > 0.5
    explanation = explain_find(explainer.explain, finder, image, scores, find)
    spot = explanation.place
    assert spot is not None
    assert (spot.low, spot.high) == around(find, image)
    assert spot.shape == shape
    assert explanation.image_sha256 == image.sha256
    # What is shown is that part of the image's own voxels, to the last bit.
    window = tuple(slice(a, b) for a, b in zip(spot.low, spot.high, strict=True))
    np.testing.assert_array_equal(explanation.volumes.original.array, image.array[(slice(None), *window)])
    np.testing.assert_allclose(
        explanation.volumes.effect.geometry.to_ras(np.zeros(3)), image.geometry.to_ras(np.array(spot.low)), atol=1e-9
    )
    # Nothing changes outside the patch, and nothing jumps at its border.
    change = explanation.volumes.difference.array[0]
    inside = tuple(slice(a - at, b - at) for a, b, at in zip(find.low, find.high, spot.low, strict=True))
    outside = change.copy()
    outside[inside] = 0
    assert not outside.any()
    border = [np.abs(change.take(edge, axis)).max() for axis in range(len(size)) for edge in _edges(change, axis)]
    assert max(border) < 0.5 * np.abs(change).max()  # the smallest patch fades out within its outermost voxel
    assert explanation.counterfactual.valid
    assert spot.before["bright"] == pytest.approx(find.probabilities["bright"])
    assert spot.after["bright"] < 0.5, "there was one bright box only"
    again = read_explanation(write_explanation(explanation, tmp_path / "one"))
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Part of a larger image" in page
    assert "most suspicious patch, after" in page
    assert again.place == spot
    # The whole image comes first, in words and as a picture with the patch in it.
    assert spot.flips
    assert spot.label_before == "bright"
    assert "With this patch changed, the whole image would be dark" in page
    assert "of the patch" in page
    assert "The patch in the whole image" in page
    assert again.overview is not None
    corners = again.overview.geometry.to_ras(
        np.array([[-0.5] * 2 + [0], np.array(again.overview.geometry.shape) - 0.5])
    )
    truth = image.geometry.to_ras(np.array([[-0.5] * 2 + [0], np.array(image.geometry.shape) - 0.5]))
    in_plane = image.geometry.affine[:3, 2] / image.geometry.spacing[2]
    for one, other in zip(corners, truth, strict=True):
        apart = one - other
        assert np.linalg.norm(apart - in_plane * (apart @ in_plane)) < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("spacing", [0.5, 0.37])
def test_what_is_said_is_what_anybody_is_told_about_the_written_patch(dtype, spacing, tmp_path) -> None:
    """Put the written counterfactual back into the image, in the image's own type, and ask about the same patch."""
    top = {"float32": 1.0, "uint8": 255.0, "int16": 2000.0, "uint16": 60000.0}[dtype]
    inputs = InputSpec(
        (16, 16), spacing=(1.0, 1.0), intensity=(0.0, top), patches=PatchSpec(("bright",), foreground=0.01 * top)
    )
    classifier = SquareClassifier(inputs)
    shape, place = (round(60 / spacing), round(45 / spacing), 1), (34, 16)
    array = np.random.default_rng(2).uniform(0.2, 0.3, (1, *shape))
    i, j = (slice(round((at - 12) / spacing), round((at + 12) / spacing)) for at in place)
    array[0, i, j] += 0.45
    array = (array * top).astype(dtype)
    image = Image(array, Geometry(shape, np.diag([spacing, spacing, 1, 1])), "whole", 2)
    explainer, finder = Explainer(classifier, eager_agent(classifier)), Finder(classifier)
    scores = finder.score(image)
    explanation = explain_find(explainer.explain, finder, image, scores, finder.rank(scores, 1))
    spot = explanation.place
    written = read_explanation(write_explanation(explanation, tmp_path / "one")).volumes.counterfactual
    whole = image.array.copy()
    window = tuple(slice(a, b) for a, b in zip(spot.low, spot.high, strict=True))
    whole[(slice(None), *window)] = written.array.astype(dtype)
    asked = finder.patch_at(image.with_array(whole), spot.centre_ras)
    for name, value in explanation.counterfactual.probabilities.items():
        assert asked.probabilities[name] == pytest.approx(value, abs=1e-3)


def test_one_patch_after_the_other_is_changed_until_the_whole_image_flips(tmp_path) -> None:
    explainer, finder, image = setting((16, 16), (160, 90, 1), (30, 30, 0))
    image.array[0, 108:132, 18:42] += 0.5
    scores = finder.score(image)
    explanation = explain_find(explainer.explain, finder, image, scores, finder.rank(scores, 1), whole=True)
    spot = explanation.place
    assert not spot.flips
    assert len(spot.steps) >= 2
    assert [step.after["bright"] for step in spot.steps][-1] < 0.5
    assert all(step.valid for step in spot.steps)
    assert spot.steps[0].centre_ras == spot.centre_ras
    again = read_explanation(write_explanation(explanation, tmp_path / "one"))
    assert again.place == spot
    page = (tmp_path / "one" / "report.html").read_text()
    assert "Only this patch is called otherwise" in page
    assert "one after the other, the whole image is no longer called" in page


def test_the_headline_of_a_find_says_each_answer_once() -> None:
    explainer, finder, image = setting((16, 16), (160, 90, 1), (30, 30, 0))
    scores = finder.score(image)
    explanation = explain_find(explainer.explain, finder, image, scores, finder.rank(scores, 1))
    with_share = with_probability(explanation.prediction.label, explanation.prediction.probabilities)
    headline = question(explanation)
    assert (
        headline
        == f"The model calls the whole image {with_share} by its most suspicious patch, and this patch likewise."
    )
    assert "The patch would be dark" in answer(explanation)
    lines = textwrap.wrap(f"{headline} {answer(explanation)}", letters_across(WIDTH, 15, "bold"))
    assert len(lines) <= 5, "of the first page of the PDF"


def _edges(change: np.ndarray, axis: int) -> tuple[int, int]:
    """First and last index along an axis where anything changes."""
    others = tuple(other for other in range(3) if other != axis)
    changed = np.flatnonzero(np.abs(change).max(axis=others) > 0)
    return int(changed[0]), int(changed[-1])


def test_a_find_at_the_edge_of_the_image_stays_within() -> None:
    explainer, finder, image = setting((16, 16), (120, 90, 1), (4, 4, 0))
    scores = finder.score(image)
    find = finder.rank(scores, 1)
    assert find.low == (0, 0, 0)
    explanation = explain_find(explainer.explain, finder, image, scores, find)
    assert explanation.place is not None
    assert explanation.place.low == (0, 0, 0)
    assert explanation.volumes.original.array.shape[1:] == explanation.place.high


@pytest.mark.parametrize("spacing", [0.5, 0.3, 1.4])
@pytest.mark.parametrize("shape", [(90, 70, 1), (40, 36, 30)], ids=["2-D", "3-D"])
def test_looking_again_at_a_part_is_looking_again_at_all(spacing: float, shape: tuple[int, int, int]) -> None:
    dims = 2 if shape[2] == 1 else 3
    finder = Finder(SquareClassifier(InputSpec((8,) * dims, spacing=(1.0,) * dims, patches=PATCHES)))
    rng = np.random.default_rng(7)
    geometry = Geometry(shape, np.diag([spacing, spacing, spacing, 1]))
    image = Image(rng.uniform(0.1, 0.9, (1, *shape)).astype(np.float32), geometry, "noise", dims)
    low, high = (20, 9, 0 if dims == 2 else 11), (33, 30, 1 if dims == 2 else 24)
    part = image.crop(low, high)
    part = part.with_array(rng.uniform(0, 1, part.array.shape).astype(np.float32))
    changed = image.array.copy()
    changed[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))] = part.array
    scores = finder.score(image)
    everything = finder.score(image.with_array(changed))
    again = finder.rescore(scores, image, part, low)
    answers = {tuple(start): answer for start, answer in zip(again.starts.tolist(), again.answers, strict=True)}
    same = [answers[tuple(start)] for start in everything.starts.tolist()]
    np.testing.assert_allclose(same, everything.answers, atol=1e-5)
    assert np.abs(again.answers[: len(scores.answers)] - scores.answers).max() > 0.01
