"""The page of finds, and pictures in which the frame lies where the find does."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from otherwise.report import words
from otherwise.report.find_values import FindWords
from otherwise.report.finds import BOX, CONTENT_NAME, SIDE, describe, thumbnail, write_finds
from support.square_models import SquareClassifier

WINDOW = (0.0, 1.0)


def finder(size: tuple[int, ...], spacing: tuple[float, ...]) -> Finder:
    return Finder(SquareClassifier(InputSpec(size, spacing=spacing, patches=PatchSpec(("bright",), foreground=0.01))))


def image_with_box(geometry: Geometry, low: np.ndarray, high: np.ndarray, dimension: int) -> Image:
    array = np.full((1, *geometry.shape), 0.1, np.float32)
    array[(0, *(slice(a, b) for a, b in zip(low, high, strict=True)))] = 0.9
    return Image(array, geometry, "<whole>", dimension)


@settings(deadline=None, max_examples=25)
@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    corner=st.tuples(st.integers(0, 36), st.integers(0, 30), st.integers(0, 12)),
)
def test_the_frame_is_where_the_find_is(axes: list[int], signs: tuple[float, ...], corner: tuple[int, ...]) -> None:
    """Whatever way the volume lies, what is bright fills the frame."""
    spacing = np.array([0.8, 0.9, 2.0])
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * np.array(signs) * spacing
    geometry = Geometry((48, 42, 18), affine)
    size = (12, 12, 6)
    low, high = np.array(corner), np.array(corner) + np.array(size)
    image = image_with_box(geometry, low, high, 3)
    middle = geometry.to_ras((low + high - 1) / 2)
    find = finder(size, tuple(spacing)).patch_at(image, tuple(middle.tolist()))
    assert find.low == tuple(low)
    pixels = np.asarray(Picture.open(io.BytesIO(thumbnail(image, find, WINDOW)))).astype(int)
    frame = (np.abs(pixels - BOX) < 3).all(axis=-1)
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    bright = pixels[..., 0] > 0.5 * 255  # the picture is smooth: half of the step lies on the patch's edge
    across = np.flatnonzero(bright[(rows[0] + rows[-1]) // 2])
    down = np.flatnonzero(bright[:, (columns[0] + columns[-1]) // 2])
    for found, edges in ((across, columns), (down, rows)):
        assert np.abs(np.array([found[0], found[-1]]) - edges[[0, -1]]).max() <= 2
        assert np.isin(np.arange(edges[0] + 2, edges[-1] - 1), found).all()
    outside = np.ones(pixels.shape[:2], bool)
    outside[max(0, rows[0] - 8) : rows[-1] + 9, max(0, columns[0] - 8) : columns[-1] + 9] = False
    assert not outside.any() or pixels[outside].max() < 0.2 * 255
    assert max(pixels.shape) == SIDE


def test_a_chosen_patch_outside_the_image_is_refused() -> None:
    image = image_with_box(Geometry((40, 40, 1), np.eye(4)), np.array([3, 3, 0]), np.array([9, 9, 1]), 2)
    with pytest.raises(Exception, match="lies outside"):
        finder((8, 8), (1.0, 1.0)).patch_at(image, (-5.0, 3.0, 0.0))


def test_the_page_lists_every_find_with_its_picture(tmp_path: Path) -> None:
    image = image_with_box(Geometry((80, 60, 1), np.diag([0.5, 0.5, 1, 1])), np.array([50, 20, 0]), [62, 32, 1], 2)
    looker = finder((8, 8), (1.0, 1.0))
    finds = looker.find(image, most=5)
    page = write_finds(image, finds, looker.classifier, tmp_path / "finds").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 1 + len(finds)
    assert "<whole>" not in page
    assert "&lt;whole&gt;" in page
    assert "http:" not in page
    content = json.loads((tmp_path / "finds" / CONTENT_NAME).read_text())
    assert content["image"]["sha256"] == image.sha256
    first = content["finds"][0]
    assert first["rank"] == 1
    assert base64.b64decode(first["thumbnail"].partition(",")[2]).startswith(b"\x89PNG")
    low, high = np.array(first["box_ras"][:3]), np.array(first["box_ras"][3:])
    assert (low < first["centre_ras"]).all()
    assert (high > first["centre_ras"]).all()


def test_the_page_says_its_result_first(tmp_path: Path) -> None:
    image = image_with_box(Geometry((80, 60, 1), np.diag([0.5, 0.5, 1, 1])), np.array([50, 20, 0]), [62, 32, 1], 2)
    looker = finder((8, 8), (1.0, 1.0))
    finds = looker.find(image, most=5)
    probable = sum(find.probability >= 0.5 for find in finds)
    assert 0 < probable < len(finds)
    page = write_finds(image, finds, looker.classifier, tmp_path / "finds").read_text(encoding="utf-8")
    assert f"<h1>The model calls {probable} of the {len(finds)} most probable places bright." in page
    probability = escape(words.probability(finds[0].probability))
    assert f"No. 1 is the most probable: bright ({probability})." in page
    assert FindWords(("bright",), None).result(finds[:1])[0] == "The model calls the most probable place bright."
    assert "shows no place for bright or dark" in FindWords(("bright", "dark"), None).result([])[0]


def test_a_find_tells_its_directions() -> None:
    affine = np.array([[0, -0.5, 0, 7], [0.5, 0, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    image = image_with_box(Geometry((80, 60, 1), affine), np.array([50, 20, 0]), np.array([62, 32, 1]), 2)
    looker = finder((8, 8), (1.0, 1.0))
    description = describe(image, looker.find(image)[0], WINDOW)
    np.testing.assert_allclose(description["axes"], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-12)
