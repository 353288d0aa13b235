"""``train agent --moved-views``: images are learned from with the field of view moved, too."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.agent.training.calibration import convincing_probabilities
from otherwise.agent.training.data import prepare_images
from otherwise.agent.training.holding_out import hold_out
from otherwise.agent.training.moved_views import moved_views
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.trainer import train_classifier
from otherwise.blackbox.view import show
from otherwise.cli import build
from otherwise.errors import AgentError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.box_images import FLAT
from support.square_models import SquareClassifier

SEEN = InputSpec((16, 16), spacing=(1.0, 1.0))


def ramp(edge: int) -> Image:
    """Return a square image with a slope of 1e-4 per pixel along i and of 1e-2 along j."""
    i, j = np.indices((edge, edge))
    return Image(((i + 100 * j) / 1e4).astype(np.float32)[None, ..., None], Geometry((edge, edge, 1), np.eye(4)), "", 2)


def test_the_usual_view_comes_first_and_the_others_are_parts_of_the_same_image() -> None:
    image = ramp(24)
    seen = moved_views(SEEN, 5, np.random.default_rng(0)).of(image)
    assert len(seen) == 6
    np.testing.assert_array_equal(seen[0], show(image, SEEN))
    places = {(float(view.min()), float(view.max())) for view in seen}
    assert len(places) == 6
    for view in seen:
        assert 0 <= view.min() < view.max() <= image.array.max() + 1e-6, "nothing beyond the image is seen"
        np.testing.assert_allclose(np.diff(view[0], axis=0), 1e-4, atol=1e-6)
        np.testing.assert_allclose(np.diff(view[0], axis=1), 1e-2, atol=1e-6)
    again = moved_views(SEEN, 5, np.random.default_rng(0)).of(image)
    assert all(np.array_equal(one, other) for one, other in zip(seen, again, strict=True))


@pytest.mark.parametrize("edge", [12, 16])
def test_an_image_no_larger_than_the_field_is_seen_once(edge: int) -> None:
    assert len(moved_views(SEEN, 3, np.random.default_rng(0)).of(ramp(edge))) == 1


def test_a_place_where_nothing_is_to_be_seen_is_left_out() -> None:
    array = np.zeros((1, 64, 64, 1), np.float32)
    array[:, 30:34, 30:34] = 1
    image = Image(array, Geometry((64, 64, 1), np.eye(4)), "", 2)
    seen = moved_views(SEEN, 40, np.random.default_rng(0)).of(image)
    assert 1 < len(seen) < 41
    assert all(view.max() > view.min() for view in seen)


@pytest.mark.parametrize(
    ("inputs", "count", "what"),
    [(InputSpec((16, 16)), 2, "cannot be moved"), (FLAT, 2, "moved already"), (SEEN, -1, "-1 moved views")],
)
def test_a_field_that_cannot_be_moved_is_refused(inputs: InputSpec, count: int, what: str) -> None:
    with pytest.raises(AgentError, match=what):
        moved_views(inputs, count, np.random.default_rng(0))


def write_images(folder: Path, edge: int = 24, count: int = 40) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(count):
        array = rng.uniform(0.2, 0.4, (1, edge, edge, 1)).astype(np.float32)
        if number % 2:
            array[:, 8:16, 8:16] = 0.9
        write_image(Image(array, Geometry((edge, edge, 1), np.eye(4)), "", 2), folder / f"{number:02d}.nii.gz")
    return folder


def test_other_views_are_prepared_anew(tmp_path: Path) -> None:
    folder, cache = write_images(tmp_path / "images"), tmp_path / "cache.npy"

    def prepared(count: int, seed: int) -> np.ndarray:
        views = moved_views(SEEN, count, np.random.default_rng(seed))
        return np.array(prepare_images(folder, SEEN, cache, views=views).views)

    one, two, other, again = (prepared(count, seed) for count, seed in ((1, 0), (2, 0), (2, 1), (2, 0)))
    assert [len(one), len(two), len(other)] == [80, 120, 120]
    assert not np.array_equal(two, other)
    np.testing.assert_array_equal(two, again)


def test_what_is_measured_is_measured_on_usual_views_alone(tmp_path: Path) -> None:
    folder, cache = write_images(tmp_path / "images"), tmp_path / "cache.npy"
    usual = prepare_images(folder, SEEN, tmp_path / "usual.npy")
    moved = prepare_images(folder, SEEN, cache, views=moved_views(SEEN, 2, np.random.default_rng(0)))
    classifier = SquareClassifier(SEEN)
    expected, data = hold_out(usual, classifier), hold_out(moved, classifier)
    np.testing.assert_array_equal(data.held_out, expected.held_out)
    assert len(data.train) == 3 * len(expected.train)
    np.testing.assert_array_equal(data.usually_seen, expected.train)
    assert convincing_probabilities(classifier, data.usually_seen) == convincing_probabilities(
        classifier, expected.train
    )


@pytest.mark.usefixtures("validation_stopped")
def test_the_command_counts_them_and_holds_those_of_an_image_out_together(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images")
    images = np.random.default_rng(2).uniform(0.2, 0.4, (40, 1, 16, 16)).astype(np.float32)
    images[1::2, :, 4:12, 4:12] = 0.9
    labels = np.arange(40) % 2
    black_box = tmp_path / "classifier"
    train_classifier(
        images, labels, ("dark", "bright"), SEEN, black_box, validation=(images, labels), epochs=1, seed=0, device="cpu"
    )
    given = [
        *("train", "agent", "--classifier", str(black_box), "--images", str(folder), "--out", str(tmp_path / "agent")),
        *("--epochs", "1", "--channels", "16,16", "--latent", "8", "--device", "cpu", "--moved-views", "2"),
    ]
    result = CliRunner().invoke(build(), given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    found = re.search(r"120 views of 40 images .*?; (\d+) are held out, of (\d+) of 40 patients", output)
    assert found, output
    assert int(found[1]) == int(found[2])
    assert "learned from only" in output
    assert "--moved-views 2" in (tmp_path / "agent" / "docs" / "README.md").read_text()
