"""Whole CT volumes: what is said to be there is there, and a nodule looks like one of the small phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import ImageError, OtherwiseError
from otherwise.phantoms.phantom import Lesion, WholePhantom
from otherwise.phantoms.whole_ct import APART, WholeCtSettings, whole_cts
from otherwise.phantoms.writing import read_whole_truth, write_phantoms

COARSE = WholeCtSettings(size=(128, 128, 64), spacing=(1.2, 1.2, 2.0))


@pytest.fixture(scope="module")
def six() -> list[WholePhantom]:
    return list(whole_cts(4, 6, COARSE))


def lesions(phantoms: list[WholePhantom]) -> list[tuple[WholePhantom, Lesion, np.ndarray]]:
    found = [(phantom, lesion) for phantom in phantoms for lesion in phantom.lesions]
    return [(phantom, lesion, phantom.labels == lesion.number) for phantom, lesion in found]


def test_a_phantom_depends_on_seed_and_number_alone(six: list[WholePhantom]) -> None:
    (third,) = whole_cts(4, 1, COARSE, start=3)
    assert third.image.sha256 == six[3].image.sha256
    assert third.lesions == six[3].lesions


def test_nodules_are_where_they_are_said_to_be_dense_and_apart(six: list[WholePhantom]) -> None:
    assert len(lesions(six)) >= 6
    for phantom, lesion, mask in lesions(six):
        middle = phantom.image.geometry.to_ras(np.argwhere(mask).mean(axis=0))
        assert np.linalg.norm(middle - lesion.centre_ras) < 0.3 * lesion.attributes["size_mm"]
        assert phantom.foreground[mask].all()
        ring = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
        assert phantom.image.array[0][mask].mean() > np.median(phantom.image.array[0][ring]) + 150
    for phantom in six:
        places = [np.array(lesion.centre_ras) for lesion in phantom.lesions]
        for n, one in enumerate(places):
            assert all(np.linalg.norm(one - other) > APART for other in places[n + 1 :])


def test_spicules_spread_a_malignant_nodule_beyond_its_body(six: list[WholePhantom]) -> None:
    for phantom, lesion, mask in lesions(six):
        if not lesion.attributes["lobulated"]:
            away = np.linalg.norm(phantom.image.geometry.to_ras(np.argwhere(mask)) - lesion.centre_ras, axis=1)
            body = 1.1 * lesion.attributes["size_mm"] / 2 + 1.5
            assert (away.max() > body) == (lesion.label == "malignant")


def test_there_is_lung_soft_tissue_bone_and_air(six: list[WholePhantom]) -> None:
    for phantom in six:
        body = phantom.image.array[0][phantom.foreground]
        assert 0.2 < (body < -600).mean() < 0.8
        assert 0.2 < ((body > -200) & (body < 200)).mean() < 0.8
        assert (body > 250).mean() > 0.002
        assert np.median(phantom.image.array[0][~phantom.foreground]) == pytest.approx(-1000, abs=20)


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_what_is_written_reads_back_equal(six: list[WholePhantom], tmp_path: Path, format: str) -> None:
    folder = tmp_path / "whole"
    (id,) = write_phantoms(six[:1], folder, format)
    again = read_whole_truth(folder, id)
    np.testing.assert_array_equal(again.image.array, six[0].image.array)
    np.testing.assert_array_equal(again.labels, six[0].labels)
    assert again.lesions == six[0].lesions


def test_the_command_draws_whole_volumes(tmp_path: Path) -> None:
    words = ["phantoms", "whole-ct", "--count", "1", "--size", "120,120,70", "--out", str(tmp_path / "w")]
    assert CliRunner().invoke(build(), words, catch_exceptions=False).exit_code == 0
    assert len(list((tmp_path / "w" / "images").iterdir())) == 1
    with pytest.raises(OtherwiseError, match="no marker"):
        CliRunner().invoke(build(), [*words[:-1], str(tmp_path / "v"), "--confound", "1"], catch_exceptions=False)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ImageError, match="holds no lung"):
        WholeCtSettings(size=(48, 48, 24))
    with pytest.raises(ImageError, match="too many"):
        WholeCtSettings(most=20)
