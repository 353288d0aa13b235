"""The shipped 3-D pair through a real server: a volume is explained in its own geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from conftest import Served
from otherwise.demo.client import session
from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.nodule import NoduleSettings, nodules
from otherwise.phantoms.oblique import all_turned
from otherwise.phantoms.phantom import MALIGNANT
from support import forked_python

pytestmark = pytest.mark.long


def test_an_oblique_volume_is_explained_in_its_own_geometry(tmp_path: Path) -> None:
    turned = all_turned(nodules(seed=4_242, count=8, settings=NoduleSettings()), seed=4_242)
    phantom = next(phantom for phantom in turned if phantom.label == MALIGNANT)
    studies = tmp_path / "studies"
    write_image(phantom.image, studies / "nodule.nrrd")
    setup = Setup(tmp_path, "test", None, "nodule_classifier", "nodule_agent", device="cpu")
    with server(setup, studies, forked_python.start) as running, session() as client:
        running.wait_until_ready()
        served = Served(running.url, studies, running.log, client)
        explanation = served.infer("explain", image="nodule", output="json").json()
        address = f"/otherwise/explanations/{explanation['id']}/files"
        found = {}
        for kind in ("counterfactual", "effect", "regions"):
            path = tmp_path / explanation["files"][kind]
            path.write_bytes(served.get(f"{address}/{path.name}").content)
            found[kind] = read_image(path)
        with (tmp_path / explanation["files"]["counterfactual"]).open("rb") as file:
            after = served.infer("classify", files={"file": ("counterfactual.nrrd", file)}).json()

    assert explanation["prediction"]["label"] == MALIGNANT
    assert explanation["counterfactual"]["valid"]
    assert after["label"] == explanation["target"] == "benign", "the classifier says so of the volume that is shown"
    for volume in found.values():
        assert volume.geometry.same_as(phantom.image.geometry)
    lesion = ndimage.binary_dilation(phantom.masks["nodule"] | phantom.masks["margin"], iterations=2)
    effect = found["effect"].array[0]
    assert lesion[np.unravel_index(effect.argmax(), effect.shape)], "the strongest effect lies on the nodule"
    assert len(explanation["regions"]) == len(set(np.unique(found["regions"].array)) - {0}) >= 1
