"""Whatever is wrong with a request is said in ``{error, detail, hint}``, with the right status, before any work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests

from otherwise.errors import ClassifierError, ImageError

if TYPE_CHECKING:
    from conftest import Running


def refusal(reply: requests.Response, status: int) -> dict[str, str]:
    assert reply.status_code == status, reply.text
    content: dict[str, str] = reply.json()
    assert set(content) == {"error", "detail", "hint"}
    assert content["detail"]
    assert "Traceback" not in reply.text
    return content


def test_unknown_model(running: Running) -> None:
    content = refusal(running.infer("segment_everything", image="dark"), 404)
    assert "classify or explain" in content["hint"]


@pytest.mark.parametrize(
    "image", ["nobody", "", ".", "..", "../secret", "..\\secret", "/etc/hostname", "dark.nrrd", "a\0b", "x" * 300]
)
def test_images_are_named_by_id_and_nothing_else(running: Running, image: str) -> None:
    content = refusal(running.infer("explain", image=image), 404)
    assert content["error"] == "not-found"
    assert str(running.studies.parent) not in content["detail"] + content["hint"]


def test_a_path_of_the_server_is_no_image(running: Running) -> None:
    secret = str(running.studies.parent / "secret.nrrd")

    refusal(running.infer("classify", image=secret), 404)
    refusal(running.infer("classify", json.dumps({"image": secret}), image="dark"), 422)
    reply = requests.post(f"{running.url}/infer/wsi/classify", params={"image": secret}, json={}, timeout=20)
    refusal(reply, 404)


@pytest.mark.parametrize("session", ["nonsense", "../sessions", "51329ad8-eb2a-11f1-a354-02fc00000001", "A" * 36])
def test_unknown_session(running: Running, session: str) -> None:
    refusal(running.infer("explain", session_id=session), 404)


@pytest.mark.parametrize("params", ["{", "nonsense", '{"seed": 1,}', "[" * 10_000])
def test_params_that_are_no_json(running: Running, params: str) -> None:
    assert refusal(running.infer("explain", params, image="dark"), 400)["error"] == "malformed"


@pytest.mark.parametrize("params", ["[]", "3", '"seed"', "null"])
def test_params_that_are_no_object(running: Running, params: str) -> None:
    refusal(running.infer("explain", params, image="dark"), 422)


@pytest.mark.parametrize(
    "key", ["image", "model", "label", "device", "save_label", "session", "file", "model_filename"]
)
def test_params_never_overwrite_the_request(running: Running, key: str) -> None:
    content = refusal(running.infer("explain", json.dumps({key: "cuda", "seed": 1}), image="dark"), 422)
    assert key in content["detail"]
    assert "seed" not in content["detail"]


def test_unknown_target_lists_the_classes(running: Running) -> None:
    content = refusal(running.infer("explain", '{"target": "cyst"}', image="dark"), 422)
    assert "cyst" in content["detail"]
    assert "benign, malignant" in content["hint"]


@pytest.mark.parametrize(
    "params",
    [
        '{"seed": -1}',
        '{"seed": 1.5}',
        '{"seed": true}',
        '{"seed": "1"}',
        '{"slice_index": []}',
        '{"noise": -0.1}',
        '{"noise": 0.9}',
        '{"noise": "0.1"}',
        '{"noise": true}',
    ],
)
def test_numbers_are_whole_and_in_range(running: Running, params: str) -> None:
    refusal(running.infer("explain", params, image="dark"), 422)


def test_classify_takes_no_target(running: Running) -> None:
    assert "target" in refusal(running.infer("classify", '{"target": "benign"}', image="dark"), 422)["detail"]


@pytest.mark.parametrize(
    ("image", "word"), [("constant", "constant"), ("holes", "NaN"), ("empty", "empty"), ("corrupt", "corrupt")]
)
def test_images_that_nobody_can_classify(running: Running, image: str, word: str) -> None:
    for model in ("classify", "explain"):
        content = refusal(running.infer(model, image=image), 422)
        assert word in content["detail"]
        assert content["hint"]
        assert str(running.studies) not in content["detail"]


@pytest.mark.parametrize("name", ["", "notes.txt", "image.exe", "image", "nrrd"])
def test_uploads_must_look_like_images(running: Running, name: str) -> None:
    reply = running.infer("classify", files={"file": (name or "x", b"NRRD0004")})
    assert ".nrrd" in refusal(reply, 422)["hint"]


def test_an_empty_upload(running: Running) -> None:
    refusal(running.infer("classify", files={"file": ("image.nrrd", b"")}), 400)


def test_a_broken_upload_does_not_tell_where_it_was_put(running: Running) -> None:
    content = refusal(running.infer("classify", files={"file": ("image.nii", b"abc" * 200)}), 422)
    assert "/" not in content["detail"]


def test_uploads_are_limited_in_size_also_when_the_length_is_not_announced(running: Running) -> None:
    noise = np.random.default_rng(0).bytes(2 * 1024 * 1024)
    refusal(running.infer("classify", files={"file": ("image.nrrd", noise)}), 413)

    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nrrd"\r\n\r\n' + noise + b"\r\n--x--\r\n"
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    reply = requests.post(
        f"{running.url}/infer/classify",
        data=chunks,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=20,
    )
    refusal(reply, 413)


def test_a_label_is_not_taken(running: Running) -> None:
    refusal(running.infer("explain", image="dark", files={"label": ("label.nrrd", b"NRRD0004")}), 422)


@pytest.mark.parametrize("output", ["dicom_seg", "picture"])
def test_forms_that_are_not_offered(running: Running, output: str) -> None:
    refusal(running.infer("explain", image="dark", output=output), 422)


def test_classify_makes_no_image(running: Running) -> None:
    refusal(running.infer("classify", image="dark", output="image"), 422)


@pytest.mark.parametrize(
    ("failure", "status"),
    [(ImageError("It is 3-D, the classifier wants 2-D.", "Give slice_index."), 422), (ClassifierError("NaN."), 502)],
)
def test_what_the_science_refuses_keeps_its_words(running: Running, failure: Any, status: int) -> None:
    with running.explainer.failing(failure):
        content = refusal(running.infer("explain", image="dark"), status)
    assert content == {"error": failure.code, "detail": failure.detail, "hint": failure.hint}


def test_the_unexpected_is_a_number_outside_and_a_traceback_in_the_log(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with running.explainer.failing(RuntimeError("weights at /home/alice/model.pt")):
        reply = running.infer("explain", image="dark")

    content = refusal(reply, 500)
    assert content["error"] == "internal"
    assert "alice" not in reply.text
    incident = content["detail"].split("request ")[1].rstrip(").")
    record = next(record for record in caplog.records if incident in record.getMessage())
    assert record.exc_info is not None
    assert "alice" in str(record.exc_info[1])


def test_unknown_addresses_below_otherwise(running: Running) -> None:
    refusal(running.get("/otherwise/nothing/here"), 404)
    refusal(requests.delete(f"{running.url}/otherwise/about", timeout=20), 404)
