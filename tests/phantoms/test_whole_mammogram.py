"""Whole mammograms: what is said to be there is there, and a patch of one looks like a small phantom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import ImageError, OtherwiseError
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.series import numbered_rng
from otherwise.phantoms.whole_mammogram import APART, WholeMammogramSettings, make_whole_mammogram, whole_mammograms
from otherwise.phantoms.writing import read_whole_truth, write_phantoms
from support.model_view import to_model

COARSE = WholeMammogramSettings(size=(600, 750), spacing=0.4)


@pytest.fixture(scope="module")
def eight() -> list[WholePhantom]:
    return list(whole_mammograms(4, 8, COARSE))


def test_a_phantom_depends_on_seed_and_number_alone(eight: list[WholePhantom]) -> None:
    (third,) = whole_mammograms(4, 1, COARSE, start=3)
    assert third.image.sha256 == eight[3].image.sha256
    assert third.lesions == eight[3].lesions


def test_lesions_are_where_they_are_said_to_be_bright_and_apart(eight: list[WholePhantom]) -> None:
    assert {len(phantom.lesions) for phantom in eight} >= {0, 1}
    for phantom in eight:
        assert set(np.unique(phantom.labels)) == set(range(len(phantom.lesions) + 1))
        for lesion in phantom.lesions:
            mask = phantom.labels == lesion.number
            middle = phantom.image.geometry.to_ras(np.argwhere(mask).mean(axis=0))
            assert np.linalg.norm(middle - lesion.centre_ras) < 0.2 * lesion.attributes["size_mm"]
            assert phantom.foreground[mask].all()
            ring = (_dilated(mask, 12) & ~_dilated(mask, 2)) & phantom.foreground
            assert phantom.image.array[0][mask].mean() > phantom.image.array[0][ring].mean() + 0.02
            # Spicules spread a malignant lesion beyond its mass.
            area = mask.sum() * phantom.image.geometry.spacing[0] ** 2
            disc = np.pi * (lesion.attributes["size_mm"] / 2) ** 2
            assert (area > 1.3 * disc) == (lesion.label == "malignant")
        places = [np.array(lesion.centre_ras) for lesion in phantom.lesions]
        for n, one in enumerate(places):
            assert all(np.linalg.norm(one - other) > APART for other in places[n + 1 :])


def test_the_label_is_that_of_the_worst_lesion(eight: list[WholePhantom]) -> None:
    for phantom in eight:
        labels = {lesion.label for lesion in phantom.lesions}
        assert phantom.label == ("malignant" if "malignant" in labels else "benign" if labels else "normal")


def test_a_patch_looks_like_a_small_phantom() -> None:
    """Similar grey values, and no more fine detail, since there is less noise."""
    phantoms = mammograms(1, 24, MammogramSettings())
    small = np.stack([to_model(phantom.image, (96, 96), (0.5, 0.5), (0, 1))[0] for phantom in phantoms])
    whole = []
    for phantom in whole_mammograms(1, 6, WholeMammogramSettings(size=(1200, 1500), spacing=0.2)):
        inside = np.argwhere(phantom.foreground[..., 0][::60, ::60]) * 60
        for place in inside[:: max(1, len(inside) // 4)]:
            centre = tuple(phantom.image.geometry.to_ras(np.array([*place, 0.0])).tolist())
            whole.append(to_model(phantom.image, (96, 96), (0.5, 0.5), (0, 1), centre=centre)[0])
    ratios = [np.median([m(image) for image in whole]) / np.median([m(image) for image in small]) for m in MEASURES]
    assert 0.7 < ratios[0] < 1.4
    assert 0.4 < ratios[1] < 1.0


def _bright(image: np.ndarray) -> float:
    return float(image[image > 0.1].mean())


def _detail(image: np.ndarray) -> float:
    """Differences of neighbours within the breast."""
    inside = (image[1:] > 0.15) & (image[:-1] > 0.15)
    return float(np.abs(np.diff(image, axis=0))[inside].mean())


MEASURES = (_bright, _detail)


def _dilated(mask: np.ndarray, count: int) -> np.ndarray:
    from scipy import ndimage

    return ndimage.binary_dilation(mask, iterations=count)


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_what_is_written_reads_back_equal(eight: list[WholePhantom], tmp_path: Path, format: str) -> None:
    folder = tmp_path / "whole"
    ids = write_phantoms(eight[:2], folder, format)
    for id, phantom in zip(ids, eight, strict=False):
        again = read_whole_truth(folder, id)
        np.testing.assert_allclose(again.image.array, phantom.image.array, atol=1e-6)
        np.testing.assert_array_equal(again.labels, phantom.labels)
        assert again.lesions == phantom.lesions
    assert (folder / "labels.csv").read_text().splitlines()[1].endswith(eight[0].label)


def test_the_command_draws_whole_mammograms(tmp_path: Path) -> None:
    words = ["phantoms", "whole-mammogram", "--count", "1", "--size", "1300,1500", "--out", str(tmp_path / "w")]
    assert CliRunner().invoke(build(), words, catch_exceptions=False).exit_code == 0
    assert len(list((tmp_path / "w" / "images").iterdir())) == 1
    with pytest.raises(OtherwiseError, match="no marker"):
        CliRunner().invoke(build(), [*words[:-1], str(tmp_path / "v"), "--confound", "1"], catch_exceptions=False)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ImageError, match="holds no whole breast"):
        WholeMammogramSettings(size=(300, 300))
    with pytest.raises(ImageError, match="too many"):
        WholeMammogramSettings(most=20)


def test_an_oblique_view_has_a_bright_muscle_in_the_upper_corner_at_the_chest_wall(tmp_path: Path) -> None:
    settings = replace(COARSE, oblique=True)
    phantoms = [make_whole_mammogram(numbered_rng(5, n), settings, f"mlo-{n}") for n in range(6)]
    assert {phantom.attributes["mirrored"] for phantom in phantoms} == {True, False}
    for phantom in phantoms:
        assert phantom.muscle is not None
        muscle, inside = phantom.muscle[..., 0], phantom.foreground[..., 0]
        assert inside[muscle].all(), "muscle is a part of the body"
        wall = -1 if phantom.attributes["mirrored"] else 0
        assert muscle[wall, 0]
        assert not muscle[-1 - wall].any()
        assert not muscle[:, -1].any()
        assert 0.02 < muscle.sum() / inside.sum() < 0.5
        grey = phantom.image.array[0, ..., 0]
        assert np.median(grey[~_dilated(~muscle, 12)]) > np.median(grey[inside & ~muscle]) + 0.03
    ids = write_phantoms(phantoms[:1], tmp_path / "mlo")
    again = read_whole_truth(tmp_path / "mlo", ids[0])
    np.testing.assert_array_equal(again.muscle, phantoms[0].muscle)


def test_a_view_without_muscle_says_so(eight: list[WholePhantom], tmp_path: Path) -> None:
    ids = write_phantoms(eight[:1], tmp_path / "whole")
    assert eight[0].muscle is None
    assert read_whole_truth(tmp_path / "whole", ids[0]).muscle is None
