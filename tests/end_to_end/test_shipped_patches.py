"""The shipped classifiers of patches with their agents: lesions are found, and explained in their place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.registry import draw_whole

pytestmark = pytest.mark.long


def run(*words: object) -> str:
    result = CliRunner().invoke(build(), [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def around_lesions(phantom: WholePhantom) -> Image:
    """Cut the part of a volume that has all lesions and 48 voxels about them; a patch has 32."""
    geometry = phantom.image.geometry
    places = (
        np.array([geometry.to_index(np.array(lesion.centre_ras)) for lesion in phantom.lesions]).round().astype(int)
    )
    low, high = np.maximum(0, places.min(axis=0) - 48), np.minimum(geometry.shape, places.max(axis=0) + 49)
    return phantom.image.crop(tuple(low.tolist()), tuple(high.tolist()))


CASES = [("whole-mammogram", "mammogram_patch", 36), ("whole-ct", "nodule_patch", 34)]


@pytest.mark.parametrize(("kind", "pair", "seed"), CASES, ids=[kind for kind, _, _ in CASES])
def test_lesions_are_found_and_explained(kind: str, pair: str, seed: int, tmp_path: Path) -> None:
    (phantom,) = draw_whole(kind, seed, 1)
    assert len(phantom.lesions) > 1
    image = around_lesions(phantom) if phantom.image.dimension == 3 else phantom.image
    path = write_image(image, tmp_path / "whole.nrrd")
    finds = json.loads(run("find", path, "--classifier", f"{pair}_classifier", "--json"))["finds"]
    lesions = [image.geometry.to_index(np.array(lesion.centre_ras)) for lesion in phantom.lesions]

    def meets(find: dict, place: np.ndarray) -> bool:
        return all(low <= at < high for low, at, high in zip(find["low"], place, find["high"], strict=True))

    probable = [find for find in finds if find["probability"] > 0.5]
    assert all(any(meets(find, place) for find in probable) for place in lesions)

    models = ("--classifier", f"{pair}_classifier", "--agent", f"{pair}_agent")
    run("explain", path, *models, "--find", 1, "--out", tmp_path / "explanation")
    content = json.loads((tmp_path / "explanation" / "explanation.json").read_text())
    first, place = finds[0], content["place"]
    assert content["prediction"]["label"] == max(first["probabilities"], key=lambda name: first["probabilities"][name])
    assert content["counterfactual"]["valid"]
    low, high = (np.array(place[key]) for key in ("low", "high"))
    edited = read_image(tmp_path / "explanation" / content["files"]["counterfactual"])
    np.testing.assert_allclose(edited.geometry.affine[:3, 3], image.geometry.to_ras(low), atol=1e-6)
    same = edited.array == image.crop(tuple(low.tolist()), tuple(high.tolist())).array
    inside = tuple(slice(a - b, c - b) for a, c, b in zip(first["low"], first["high"], low, strict=True))
    assert not same[(slice(None), *inside)].all(), "something changed within the patch"
    same[(slice(None), *inside)] = True
    assert same.all(), "and nothing outside of it"
    # What is most suspicious of the whole, before and after; after, it may well be another lesion.
    assert place["before"] == pytest.approx(first["probabilities"])
    assert sum(place["after"].values()) == pytest.approx(1)
