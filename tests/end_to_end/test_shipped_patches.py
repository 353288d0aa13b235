"""The shipped classifiers of patches with their agents: lesions are found, and explained in their place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.registry import draw_whole

pytestmark = pytest.mark.long


def run(*words: object) -> str:
    result = CliRunner().invoke(build(), [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


CASES = [("whole-mammogram", "mammogram_patch"), ("whole-ct", "nodule_patch")]


@pytest.mark.parametrize(("kind", "pair"), CASES, ids=[kind for kind, _ in CASES])
def test_lesions_are_found_and_explained(kind: str, pair: str, tmp_path: Path) -> None:
    whole = next(phantom for phantom in draw_whole(kind, 34, 9) if len(phantom.lesions) > 1)
    path = write_image(whole.image, tmp_path / "whole.nrrd")
    finds = json.loads(run("find", path, "--classifier", f"{pair}_classifier", "--json"))["finds"]
    lesions = [whole.image.geometry.to_index(np.array(lesion.centre_ras)) for lesion in whole.lesions]

    def meets(find: dict, place: np.ndarray) -> bool:
        return all(low <= at < high for low, at, high in zip(find["low"], place, find["high"], strict=True))

    probable = [find for find in finds if find["probability"] > 0.5]
    assert all(any(meets(find, place) for find in probable) for place in lesions)

    models = ("--classifier", f"{pair}_classifier", "--agent", f"{pair}_agent")
    run("explain", path, *models, "--find", 1, "--out", tmp_path / "explanation")
    told = json.loads((tmp_path / "explanation" / "explanation.json").read_text())
    first, place = finds[0], told["place"]
    assert told["prediction"]["label"] == max(first["probabilities"], key=lambda name: first["probabilities"][name])
    assert told["counterfactual"]["valid"]
    low, high = (np.array(place[key]) for key in ("low", "high"))
    edited = read_image(tmp_path / "explanation" / told["files"]["counterfactual"])
    np.testing.assert_allclose(edited.geometry.affine[:3, 3], whole.image.geometry.to_ras(low), atol=1e-6)
    same = edited.array == whole.image.crop(tuple(low.tolist()), tuple(high.tolist())).array
    inside = tuple(slice(a - b, c - b) for a, c, b in zip(first["low"], first["high"], low, strict=True))
    assert not same[(slice(None), *inside)].all(), "something changed within the patch"
    same[(slice(None), *inside)] = True
    assert same.all(), "and nothing outside of it"
    # What is most suspicious of the whole, before and after; after, it may well be another lesion.
    assert place["before"] == pytest.approx(first["probabilities"])
    assert sum(place["after"].values()) == pytest.approx(1)
