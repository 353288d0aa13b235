"""Attacks by names and options that MONAI Label joins into paths, environments and command lines, or unpickles."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.attacked_server import AttackedServer

if TYPE_CHECKING:
    pass


TRAVERSALS = [
    "../secret",
    "..",
    ".",
    "../../etc/passwd",
    "/etc/hostname",
    "..\\secret",
    "%2e%2e/secret",
    "a\0b",
    "x" * 300,
]
"""As ids; the client escapes them."""


@pytest.mark.parametrize("name", TRAVERSALS)
def test_path_traversal_in_the_id_of_an_image(target: AttackedServer, name: str) -> None:
    ask = target.client.request
    upload = {"file": ("a.nrrd", target.image)}
    target.refuses(ask("GET", "/datastore/image", params={"image": name}))
    target.refuses(ask("GET", "/datastore/image/info", params={"image": name}))
    target.refuses(ask("PUT", "/datastore/image/info", params={"image": name}, data={"info": "{}"}))
    target.refuses(ask("DELETE", "/datastore/image", params={"id": name}))
    target.refuses(ask("DELETE", "/datastore/", params={"id": name}))
    target.refuses(ask("PUT", "/datastore/label", params={"image": name}, files={"label": ("a.nrrd", target.image)}))
    assert ask("HEAD", "/datastore/image", params={"image": name}).status_code == 404
    if not name.startswith("%"):  # that is a good name of a file, and no path
        target.refuses(ask("PUT", "/datastore/image", params={"image": name}, files=upload))
        target.refuses(ask("PUT", "/datastore/", params={"image": name}, files=upload))


@pytest.mark.parametrize("name", ["C:evil", "a:b", "con|", "a.nrrd", " a", "a.", "what?", "a*"])
def test_names_that_are_paths_or_wildcards_elsewhere(target: AttackedServer, name: str) -> None:
    reply = target.client.put("/datastore/image", params={"image": name}, files={"file": ("a.nrrd", target.image)})
    target.refuses(reply, 422)


@pytest.mark.parametrize(
    "name", ["../../planted.nrrd", "/tmp/planted.nrrd", "..\\planted.exe", "a.nrrd\0.png", "..", "x.sh"]
)
def test_path_traversal_in_the_name_of_an_uploaded_file(target: AttackedServer, name: str) -> None:
    client, files = target.client, {"file": (name, target.image)}
    ending = client.put("/datastore/image", params={"image": "planted"}, files=files)
    if ending.status_code == 200:  # only what it ends in was used
        assert client.delete("/datastore/image", params={"id": "planted"}).status_code == 200
    session = client.put("/session/", files={"files": (name, target.image)})
    assert session.status_code == 200
    assert session.json()["session_info"]["image"] in ("image", "image.nrrd", "image.png")
    client.delete(f"/session/{session.json()['session_id']}")


@pytest.mark.parametrize("tag", ["../../planted", "/tmp", "..", "a/b", "a\\b", "a\0b", "t" * 65, ".hidden"])
def test_path_traversal_in_a_tag(target: AttackedServer, tag: str) -> None:
    files = {"label": ("a.nrrd", target.image)}
    target.refuses(target.client.put("/datastore/label", params={"image": "dark", "tag": tag}, files=files), 422)
    for method in ("GET", "DELETE"):
        key = "label" if method == "GET" else "id"
        target.refuses(target.client.request(method, "/datastore/label", params={key: "dark", "tag": tag}))
    target.refuses(target.client.post("/batch/infer/explain", json={"label_tag": tag}), 422)


@pytest.mark.parametrize(
    "session", ["..%2F..%2Fsecret", "%2e%2e", "nonsense", "A" * 36, "%00", "00000000-0000-0000-0000-000000000000"]
)
def test_path_traversal_in_a_session(target: AttackedServer, session: str) -> None:
    for method in ("GET", "DELETE"):
        target.refuses(target.client.request(method, f"/session/{session}"))


def test_a_crafted_session_does_not_open_other_files(target: AttackedServer) -> None:
    id = "00000000-0000-0000-0000-000000000001"
    folder = Path(target.app.sessions().store_path) / id
    folder.mkdir(parents=True)
    record = {"name": id, "path": str(folder), "image": str(target.root / "secret.nrrd"), "expiry": 60}
    (folder / "meta.info").write_text(json.dumps(record))
    target.refuses(target.client.get(f"/session/{id}", params={"image": True}), 404)
    (folder / "meta.info").write_text("{")
    target.refuses(target.client.get(f"/session/{id}"), 404)
    assert target.app.sessions().remove_expired() == 0, (
        "an upload that goes on is left alone; a damaged one stops nobody"
    )


@pytest.mark.parametrize("model", ["..%2F..%2Fsecret", "nobody", "agent%00", "x" * 300])
def test_path_traversal_in_a_model(target: AttackedServer, model: str) -> None:
    for address in (f"/train/{model}", f"/batch/infer/{model}", f"/scoring/{model}", f"/activelearning/{model}"):
        target.refuses(target.client.post(address, json={}), 404)


OVERRIDES = ["image", "images", "model", "session", "path", "bundle_path", "model_filename", "local_rank", "strategy"]


@pytest.mark.parametrize("key", OVERRIDES)
def test_params_that_override_what_the_address_says(target: AttackedServer, key: str) -> None:
    evil = {key: str(target.root / "secret.nrrd")}
    for address in ("/train/agent", "/batch/infer/explain", "/activelearning/random"):
        assert key in str(target.refuses(target.client.post(address, json=evil), 422)).replace("another model", "model")
    target.refuses(target.client.post("/train/", json={"agent": evil}), 422)
    target.refuses(target.client.post("/scoring/", json=evil), 422)
    kept = {"data": {"info": json.dumps(evil)}}
    target.refuses(target.client.put("/datastore/image/info", params={"image": "dark"}, **kept), 422)


@pytest.mark.parametrize(
    "params",
    [{"gpus": "0; rm -rf /"}, {"device": "cuda:0 --evil"}, {"device": ["cpu"]}, {"gpus": {"a": 1}}, {"minutes": {}}],
)
def test_params_that_reach_an_environment_or_a_command_line(target: AttackedServer, params: dict[str, Any]) -> None:
    target.refuses(target.client.post("/train/agent", json=params), 422)


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pickled"),)


def test_pickle_upload(target: AttackedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    weights = pickle.dumps(Exploit())
    for model in ("explain", "agent"):
        target.refuses(target.client.put(f"/model/{model}", files={"file": ("model.pt", weights)}), 403)
    target.refuses(target.client.put("/datastore/image", files={"file": ("model.pt", weights)}), 422)
    reply = target.client.post("/infer/classify", files={"file": ("model.nrrd", weights)}, data={"params": "{}"})
    target.refuses(reply, 422)
    assert not (tmp_path / "pickled").exists()


def test_zip_slip(target: AttackedServer) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../../planted.nrrd", target.image)
    files = {"files": ("series.zip", archive.getvalue())}
    content = target.refuses(target.client.put("/session/", params={"uncompress": True}, files=files), 422)
    assert "not unpacked" in content["detail"]
    kept = target.client.put("/session/", files=files).json()["session_id"]
    target.refuses(target.client.post("/infer/classify", params={"session_id": kept}, data={"params": "{}"}), 422)
