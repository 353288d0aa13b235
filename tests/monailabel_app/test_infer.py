"""``POST /infer/{model}`` answers as stock MONAI Label clients expect."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from requests_toolbelt import MultipartDecoder

from otherwise.images.reading import read_image

if TYPE_CHECKING:
    from conftest import Running


def test_info_lists_both_models(running: Running) -> None:
    info = running.get("/info/").json()

    assert set(info["models"]) == {"classify", "explain"}
    classify, explain = info["models"]["classify"], info["models"]["explain"]
    assert classify["type"] == "classification"
    assert classify["dimension"] == explain["dimension"] == 2
    assert classify["labels"] == {"benign": 0, "malignant": 1}
    assert explain["config"] == {
        "slice_index": "auto",
        "target": ["auto", "benign", "malignant"],
        "seed": 0,
        "noise": 0.0,
        "edit": ["auto", "draw", "shape"],
    }
    assert explain["type"] == "segmentation", "the stock Slicer plug-in offers no other type with a button"


def test_classify_gives_the_stock_prediction_and_says_which_model_it_was(running: Running) -> None:
    answer = running.infer("classify", image="bright one").json()

    scores = answer["prediction"]
    assert [(score["idx"], score["label"]) for score in scores] == [(0, "benign"), (1, "malignant")]
    assert [score["score"] for score in scores] == pytest.approx([0.1, 0.9])
    assert answer["label"] == "malignant"
    assert answer["classifier"] == {"name": "fake", "version": "c0ffee"}
    assert answer["image"]["id"] == "bright one"


def test_explain_without_output_is_multipart_with_json_and_label_map(running: Running, tmp_path: Path) -> None:
    reply = running.infer("explain", image="bright one")

    parts = {name(part.headers): part for part in MultipartDecoder.from_response(reply).parts}
    content = json.loads(parts["params"].text)
    assert content["schema"] == "otherwise.explanation/1"
    assert content["target"] == "benign"
    assert content["label_names"] == {"region 1": 1}
    (tmp_path / "regions.nrrd").write_bytes(parts["image"].content)
    labels = read_image(tmp_path / "regions.nrrd")
    original = read_image(running.studies / "bright one.nrrd")
    assert labels.geometry.same_as(original.geometry), "the label map lies exactly where the image does"
    assert set(np.unique(labels.array)) == {0, 1}


def test_output_chooses_the_form(running: Running) -> None:
    as_json = running.infer("explain", image="dark", output="json")
    as_image = running.infer("explain", image="dark", output="image")
    as_all = running.infer("explain", image="dark", output="all")

    assert as_json.json()["target"] == "malignant"
    assert as_image.content.startswith(b"NRRD")
    assert as_image.headers["content-disposition"].endswith('.nrrd"')
    assert as_all.headers["content-type"].startswith("multipart/form-data")


def test_params_reach_the_explainer(running: Running) -> None:
    running.infer("explain", '{"target": "malignant", "seed": 5, "slice_index": 0}', image="dark", output="json")
    assert running.explainer.calls[-1] == {"image": "dark", "target": "malignant", "seed": 5, "slice_index": 0}

    running.infer("explain", '{"target": "auto", "slice_index": "auto"}', image="dark", output="json")
    assert running.explainer.calls[-1] == {"image": "dark", "target": None, "seed": 0, "slice_index": None}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the stock client leaves files and sockets to the collector
def test_the_stock_client_explains_an_image_of_the_studies(running: Running, tmp_path: Path) -> None:
    client = stock_client(running, tmp_path)
    params = {"result_extension": ".nrrd", "result_dtype": "uint8", "target": "auto", "seed": 0}

    file, content = client.infer("explain", "bright one", params)

    assert content["counterfactual"]["valid"] is True
    label_map = sitk.ReadImage(file)
    assert sitk.GetArrayFromImage(label_map).max() == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the stock client leaves files and sockets to the collector
def test_the_stock_client_explains_a_session_whatever_the_volume_is_called(running: Running, tmp_path: Path) -> None:
    client = stock_client(running, tmp_path)
    session = client.create_session(str(running.studies / "dark.nrrd"))["session_id"]

    file, content = client.infer("explain", "2: a volume of the scene", {}, session_id=session)

    assert Path(file).stat().st_size
    assert content["image"]["id"].startswith("session-")
    assert "dark" not in {entry for entry in running.app.datastore().list_images() if "session" in entry}
    kept = running.app.sessions().get_session(session)
    assert Path(kept.image).is_relative_to(running.state), "uploads stay in the state folder"
    assert client.get_session(session)["image"] == "image.nrrd", "neither a path nor the name that the client had"


def test_an_uploaded_file_is_classified_and_not_kept(running: Running) -> None:
    before = running.app.datastore().list_images()
    with (running.studies / "bright one.nrrd").open("rb") as file:
        answer = running.infer("classify", files={"file": ("Miller^Anna.nrrd", file)}).json()

    assert answer["label"] == "malignant"
    assert answer["image"]["id"] == "upload", "file names may be patients' names"
    assert running.app.datastore().list_images() == before


def test_everything_runs_on_the_one_worker_thread(running: Running) -> None:
    running.infer("classify", image="dark")
    running.infer("explain", image="dark", output="json")

    assert running.explainer.threads == {"otherwise-cpu"}


def stock_client(running: Running, folder: Path):  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports cgi
        from monailabel.client import MONAILabelClient
    return MONAILabelClient(running.url, tmpdir=str(folder))


def name(headers: dict[bytes, bytes]) -> str:
    return headers[b"Content-Disposition"].decode().split('name="')[1].split('"')[0]
