"""An image goes to a real MONAI Label server, and an explanation comes back that holds what it promises."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from requests_toolbelt import MultipartDecoder

from otherwise.images.image import Image
from otherwise.images.reading import read_image

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from conftest import Served

CASE = "mammogram-31415-00000"


def volumes(served: Served, explanation: dict[str, Any], folder: Path) -> dict[str, Image]:
    """Fetch the volumes of an explanation."""
    found = {}
    for kind in ("counterfactual", "difference", "effect", "regions"):
        name = explanation["files"][kind]
        (folder / name).write_bytes(served.get(f"/otherwise/explanations/{explanation['id']}/files/{name}").content)
        found[kind] = read_image(folder / name)
    return found


@pytest.fixture(scope="module")
def explanation(served: Served) -> dict[str, Any]:
    content: dict[str, Any] = served.infer("explain", '{"seed": 1}', image=CASE, output="json").json()
    return content


def test_the_server_says_which_shipped_models_it_hosts(served: Served) -> None:
    about = served.get("/otherwise/about").json()

    assert about["classifiers"][0]["classes"] == ["benign", "malignant"]
    assert about["agents"][0]["version"]
    assert set(served.get("/info/").json()["models"]) == {"classify", "explain"}


def test_classification_gives_probabilities(served: Served) -> None:
    answer = served.infer("classify", image=CASE).json()

    scores = {score["label"]: score["score"] for score in answer["prediction"]}
    assert sum(scores.values()) == pytest.approx(1)
    assert answer["label"] == max(scores, key=lambda name: scores[name])


def test_the_classifier_itself_decides_whether_the_counterfactual_is_valid(
    served: Served, explanation: dict[str, Any], tmp_path: Path
) -> None:
    before = served.infer("classify", image=CASE).json()
    assert explanation["prediction"]["label"] == before["label"] != explanation["target"]

    found = volumes(served, explanation, tmp_path)
    with (tmp_path / explanation["files"]["counterfactual"]).open("rb") as file:
        after = served.infer("classify", files={"file": ("counterfactual.nrrd", file)}).json()
    assert explanation["counterfactual"]["valid"]
    assert after["label"] == explanation["target"]
    stated = explanation["counterfactual"]["probabilities"]
    assert {score["label"]: score["score"] for score in after["prediction"]} == pytest.approx(stated, abs=1e-4)
    original = read_image(served.studies / f"{CASE}.nrrd")
    change = found["counterfactual"].array.astype(np.float64) - original.array
    assert np.abs(change - found["difference"].array).max() < 1e-5


def test_the_same_seed_gives_the_same_explanation(served: Served, explanation: dict[str, Any]) -> None:
    again = served.infer("explain", '{"seed": 1}', image=CASE, output="json").json()

    assert again["id"] != explanation["id"]
    for key in ("counterfactual", "regions", "target", "queries"):
        assert again[key] == explanation[key]


def test_the_label_map_comes_with_the_json_and_lies_where_the_image_does(served: Served, tmp_path: Path) -> None:
    reply = served.infer("explain", image="oblique")

    params, image = MultipartDecoder.from_response(reply).parts
    content = json.loads(params.text)
    (tmp_path / "regions.nrrd").write_bytes(image.content)
    original = read_image(served.studies / "oblique.nrrd")
    labels = read_image(tmp_path / "regions.nrrd")
    assert labels.geometry.same_as(original.geometry)
    assert set(np.unique(labels.array)) - {0} == set(content["label_names"].values())
    for volume in volumes(served, content, tmp_path).values():
        assert volume.geometry.same_as(original.geometry)


def test_a_colour_picture_is_explained_by_its_luminance_with_a_warning(served: Served) -> None:
    content = served.infer("explain", image="colours", output="json").json()

    assert "luminance" in [warning["code"] for warning in content["warnings"]]


@pytest.mark.parametrize(("image", "status"), [("volume", 422), ("nobody", 404)])
@pytest.mark.parametrize("model", ["classify", "explain"])
def test_what_the_model_cannot_take_is_refused_in_words(served: Served, model: str, image: str, status: int) -> None:
    reply = served.infer(model, image=image)

    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error", "detail", "hint"}


def test_an_explanation_that_runs_does_not_freeze_the_server(served: Served) -> None:
    with ThreadPoolExecutor(1) as clients:
        running = clients.submit(served.infer, "explain", '{"seed": 2}', image=CASE, output="json")
        waits = []
        while not running.done():
            begun = time.perf_counter()
            assert served.get("/info/").ok
            waits.append(time.perf_counter() - begun)
        assert running.result().ok
    assert len(waits) >= 3, "several answers within one explanation"
    assert sorted(waits)[len(waits) // 2] < 1


def test_the_report_needs_no_network(served: Served, explanation: dict[str, Any]) -> None:
    page = served.get(f"/otherwise/explanations/{explanation['id']}/report.html").text

    assert CASE in page
    for word in ('src="http', 'href="http', "url(http", "@import"):
        assert word not in page


def test_nothing_went_wrong_unnoticed(served: Served, explanation: dict[str, Any]) -> None:
    assert "Traceback" not in served.log.read_text(encoding="utf-8", errors="replace")


def test_other_users_of_the_machine_see_nothing_of_what_is_sent(served: Served, explanation: dict[str, Any]) -> None:
    """Whatever it is called: sessions, explanations, and the record of the studies."""
    image = (served.studies / "oblique.nrrd").read_bytes()
    put = served.session.put(f"{served.url}/session/", files={"files": ("oblique.nrrd", image)}, timeout=60)
    assert put.status_code == 200
    state = served.studies.with_name("state")
    kept = [path for path in state.rglob("*") if path.is_file()]
    assert any(path.parent.name == put.json()["session_id"] for path in kept)
    assert any(explanation["id"] in str(path) for path in kept)
    assert [path.name for path in kept if path.stat().st_mode & 0o007] == []


def test_studies_list_their_images(served: Served) -> None:
    listed = served.get("/otherwise/studies").json()["studies"]
    ids = sorted(image["id"] for study in listed for image in study["images"])
    assert ids == sorted(served.get("/datastore/?output=all").json()["objects"])
