"""Which classifier and agent a command takes where it is not told."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from otherwise.cli.options.pair import choose_pair
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.writing import write_phantoms


def test_our_phantoms_are_explained_by_the_pair_that_knows_them(tmp_path: Path) -> None:
    (id,) = write_phantoms(mammograms(1, 1, MammogramSettings()), tmp_path / "phantoms")
    for image in (tmp_path / "phantoms" / "images" / f"{id}.nii.gz", tmp_path / "phantoms"):
        assert choose_pair(image, None, None) == ("mammogram_classifier", "mammogram_agent")


def test_any_other_image_needs_a_classifier_that_somebody_chose(tmp_path: Path) -> None:
    image = tmp_path / "chest.nii.gz"
    image.touch()
    with pytest.raises(typer.BadParameter, match="--classifier"):
        choose_pair(image, None, None)
    assert choose_pair(image, "nodule_classifier", None) == ("nodule_classifier", "nodule_agent")
    assert choose_pair(image, "my/bundle", "my/agent") == ("my/bundle", "my/agent")
    with pytest.raises(typer.BadParameter, match="--agent"):
        choose_pair(image, "my/bundle_classifier", None)
