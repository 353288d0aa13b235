"""MONAI Label's routes, client and plug-ins meet what docs/reference/monai-label.md promises.

MONAI Label ships no tests of its endpoints in its package. These are written from its interface.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests_toolbelt import MultipartDecoder

if TYPE_CHECKING:
    from conftest import Running

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "monai-label.md"
TABLE = {
    route: outcome
    for route, outcome in re.findall(r"^\| `(\w+ [^`]+)` \| (passes|refused|not offered) \|", PAGE.read_text(), re.M)
}
STATUS_OF_TASKS = ("GET /batch/infer", "GET /train/", "GET /scoring/")
MODULES = (
    *("activelearning", "batch_infer", "datastore", "infer", "info", "login", "logs", "model", "ohif", "proxy"),
    *("scoring", "session", "train", "wsi_infer"),
)


@pytest.fixture
def prepared(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """An image with a label of its own, and a session; what is asked for in the background does nothing."""
    monkeypatch.setattr("monailabel.utils.async_tasks.utils._task_func", lambda task, *rest: task.update(status="DONE"))
    content = (running.studies / "dark.nrrd").read_bytes()

    def put(address: str, query: dict[str, str], files: dict[str, Any]) -> dict[str, Any]:
        reply = requests.put(running.url + address, params=query, files=files, timeout=20)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    put("/datastore/image", {"image": "mine"}, {"file": ("a.nrrd", content)})
    put("/datastore/label", {"image": "mine"}, {"label": ("a.nrrd", content)})
    session = put("/session/", {}, {"files": ("a.nrrd", content)})["session_id"]
    yield {"content": content, "session": session}
    for id in ("mine", "put", "other"):
        with suppress(requests.RequestException):
            requests.delete(f"{running.url}/datastore/image", params={"id": id}, timeout=20)


def requests_of(prepared: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The address and further arguments of one good request for each route that takes some."""
    image, label, id = {"image": "mine"}, {"label": "mine", "tag": "final"}, {"id": "mine"}
    content = prepared["content"]
    session = f"/session/{prepared['session']}"
    return {
        "POST /infer/{model}": ("/infer/classify", {"params": image, "data": {"params": "{}"}}),
        "POST /infer/wsi/{model}": ("/infer/wsi/classify", {"params": image, "json": {}}),
        "POST /infer/wsi_v2/{model}": ("/infer/wsi_v2/classify", {"params": image, "json": {}}),
        "POST /batch/infer/{model}": ("/batch/infer/classify", {"json": {"max_batch_size": 1}}),
        "POST /activelearning/{strategy}": ("/activelearning/random", {"json": {"client_id": "me"}}),
        "POST /train/": ("/train/", {"json": {}}),
        "POST /train/{model}": ("/train/agent", {"json": {}}),
        "POST /scoring/": ("/scoring/", {"json": {}}),
        "POST /scoring/{method}": ("/scoring/dice", {"json": {}}),
        "PUT /datastore/": ("/datastore/", {"params": {"image": "other"}, "files": {"file": ("a.nrrd", content)}}),
        "DELETE /datastore/": ("/datastore/", {"params": {"id": "other"}}),
        "PUT /datastore/image": (
            "/datastore/image",
            {"params": {"image": "put"}, "files": {"file": ("a.nrrd", content)}},
        ),
        "DELETE /datastore/image": ("/datastore/image", {"params": id}),
        "HEAD /datastore/image": ("/datastore/image", {"params": image}),
        "GET /datastore/image": ("/datastore/image", {"params": image}),
        "GET /datastore/image/info": ("/datastore/image/info", {"params": image}),
        "PUT /datastore/image/info": ("/datastore/image/info", {"params": image, "data": {"info": '{"a": 1}'}}),
        "PUT /datastore/label": ("/datastore/label", {"params": image, "files": {"label": ("a.nrrd", content)}}),
        "DELETE /datastore/label": ("/datastore/label", {"params": {**id, "tag": "final"}}),
        "HEAD /datastore/label": ("/datastore/label", {"params": {**image, "tag": "final"}}),
        "GET /datastore/label": ("/datastore/label", {"params": label}),
        "GET /datastore/label/info": ("/datastore/label/info", {"params": label}),
        "PUT /datastore/label/info": ("/datastore/label/info", {"params": label, "data": {"info": '{"a": 1}'}}),
        "PUT /datastore/updatelabelinfo": (
            "/datastore/updatelabelinfo",
            {"params": label, "data": {"params": '{"a": 1}'}},
        ),
        "PUT /session/": ("/session/", {"files": {"files": ("a.nrrd", content)}}),
        "GET /session/{session_id}": (session, {}),
        "DELETE /session/{session_id}": (session, {}),
        "POST /auth/token": ("/auth/token", {"data": {"username": "a", "password": "b"}}),
    }


def test_the_table_names_every_route_that_the_package_brings() -> None:
    brought = set()
    for name in MODULES:
        for route in importlib.import_module(f"monailabel.endpoints.{name}").router.routes:
            brought |= {f"{method} {route.path}" for method in route.methods}

    assert set(TABLE) == brought


@pytest.mark.parametrize("route", TABLE)
def test_each_route_does_what_the_table_says(running: Running, prepared: dict[str, Any], route: str) -> None:
    method, template = route.split(" ", 1)
    address, more = requests_of(prepared).get(route, (re.sub(r"\{[^}]*\}", "any", template), {}))
    if route == "DELETE /datastore/":
        files = {"file": ("a.nrrd", prepared["content"])}
        requests.put(f"{running.url}/datastore/", params={"image": "other"}, files=files, timeout=20)
    reply = requests.request(method, running.url + address, timeout=30, **more)

    if TABLE[route] == "passes":
        nothing_runs = route in STATUS_OF_TASKS and reply.status_code == 404  # as MONAI Label answers
        too_few = route == "POST /train/{model}" and "A training needs" in reply.text
        assert reply.status_code == 200 or nothing_runs or too_few, reply.text
    elif TABLE[route] == "refused":
        assert (reply.status_code, reply.json()["error"]) == (403, "closed")
    else:
        assert reply.status_code in (404, 405, 422), reply.text
        assert set(reply.json()) == {"error", "detail", "hint"}


@pytest.fixture
def client(running: Running, tmp_path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports cgi
        from monailabel.client import MONAILabelClient
    return MONAILabelClient(running.url, tmpdir=str(tmp_path), client_id="user-xyz")


def test_all_that_the_packaged_client_can_ask(
    running: Running, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monailabel.utils.async_tasks.utils._task_func", lambda task, *rest: task.update(status="DONE"))
    file = str(running.studies / "dark.nrrd")

    assert not client.auth_enabled()
    assert {"classify", "explain"} <= set(client.info()["models"])
    assert client.upload_image(file, "sent")["image"] == "sent"
    assert client.next_sample("random", {})["id"] in client.datastore()["objects"]
    session = client.create_session(file)["session_id"]
    assert client.get_session(session)
    label_map, answer = client.infer("explain", "sent", {"result_extension": ".nrrd", "result_dtype": "uint8"})
    assert Path(label_map).stat().st_size
    assert answer["label_names"]
    _, of_session = client.infer("explain", "", {}, session_id=session)
    assert of_session["prediction"]
    _, of_file = client.infer("classify", "", {}, file=file)
    assert json.loads(of_file)["label"]  # the client returns a reply without a file as it came
    client.save_label("sent", label_map, params={"label_info": [{"name": "mass"}]})
    assert Path(client.download_label("sent", "final")).stat().st_size
    with pytest.raises(Exception, match="A training needs"):  # of so few studies, which the client is told
        client.train_start("agent", {})
    client.train_stop()  # nothing runs: no error
    client.remove_session(session)
    requests.delete(f"{running.url}/datastore/image", params={"id": "sent"}, timeout=20)


def test_what_the_slicer_plug_in_sends(running: Running, prepared: dict[str, Any]) -> None:
    """Fetch, next sample, image by address, inference, submit, train: with the arguments that the plug-in adds."""
    url = running.url
    models = requests.get(f"{url}/info/", timeout=20).json()
    assert models["models"]["explain"]["type"]
    assert {"strategies", "trainers", "datastore", "labels"} <= set(models)
    sample = requests.post(f"{url}/activelearning/random", json={"client_id": "user-xyz"}, timeout=20).json()
    assert requests.get(f"{url}/datastore/image", params={"image": sample["id"]}, timeout=20).status_code == 200
    sent = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, "client_id": "user-xyz"}
    reply = requests.post(
        f"{url}/infer/explain", params={"image": "mine"}, data={"params": json.dumps(sent)}, timeout=30
    )
    parts = MultipartDecoder(reply.content, reply.headers["Content-Type"]).parts
    assert reply.status_code == 200
    assert len(parts) == 2
    label = {"label": ("label.nrrd", parts[1].content)}
    saved = requests.put(
        f"{url}/datastore/label",
        params={"image": "mine"},
        data={"params": json.dumps({"label_info": [{"name": "region 1", "idx": 1}], "client_id": "user-xyz"})},
        files=label,
        timeout=20,
    )
    assert saved.status_code == 200, saved.text
    assert requests.get(f"{url}/train/", params={"check_if_running": True}, timeout=20).status_code in (200, 404)


@pytest.mark.parametrize("output", ["image", "all", "json"])
def test_what_viewer_plug_ins_send(running: Running, prepared: dict[str, Any], output: str) -> None:
    """A form made by a browser, with the wanted kind of output in the query."""
    form = {"params": (None, json.dumps({"result_extension": ".nrrd", "result_dtype": "uint16"}))}
    reply = requests.post(
        f"{running.url}/infer/explain", params={"image": "mine", "output": output}, files=form, timeout=30
    )

    assert reply.status_code == 200, reply.text
    kind = reply.headers["Content-Type"]
    if output == "json":
        assert reply.json()["prediction"]
    elif output == "image":
        assert reply.content
        assert "json" not in kind
    else:
        assert kind.startswith("multipart/form-data")


def test_a_browser_of_a_named_origin_may_ask(running: Running) -> None:
    """Without being named by the administrator, no viewer of another server may."""
    headers = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "POST"}
    reply = requests.options(f"{running.url}/infer/explain", headers=headers, timeout=20)

    assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
