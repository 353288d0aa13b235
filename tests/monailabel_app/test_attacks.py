"""Known attacks on servers like this, each by its name; every one was open in MONAI Label as it is shipped."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import json
import pickle
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support import app_in_process

if TYPE_CHECKING:
    from conftest import Running


class Target:
    """A server in this process, and what lies around its studies."""

    def __init__(self, client: TestClient, app: Any, root: Path) -> None:
        self.client, self.app, self.root = client, app, root
        self.studies = root / "studies"
        self.image = (self.studies / "dark.nrrd").read_bytes()

    def refuses(self, reply: httpx.Response, *statuses: int) -> dict[str, str]:
        assert reply.status_code in (statuses or (400, 403, 404, 409, 413, 422)), reply.text
        content: dict[str, str] = reply.json()
        assert set(content) == {"error", "detail", "hint"}
        assert str(self.root) not in reply.text
        assert "Traceback" not in reply.text
        return content

    def files(self) -> set[Path]:
        """Everything around, but what lies in the state and the record itself."""
        return {
            path.relative_to(self.root)
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_relative_to(self.root / "state") and path.name != ".lock"
        }


@pytest.fixture(scope="module")
def server(app_class: Any, running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    root = tmp_path_factory.mktemp("attacked")
    for name, brightness in (("dark", 0.1), ("bright", 0.7)):
        noise = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
        image = Image(noise + np.float32(brightness), Geometry((8, 6, 1), np.eye(4)), name, 2)
        write_image(image, root / "studies" / f"{name}.nrrd")
    (root / "secret.nrrd").write_bytes((root / "studies" / "dark.nrrd").read_bytes())
    (root / "studies" / "linked.nrrd").symlink_to(root / "secret.nrrd")
    (root / "studies" / "dangling.nrrd").symlink_to(root / "planted.nrrd")
    conf = {"state": str(root / "state"), "device": "cpu", "upload_mib": "1"}
    with app_in_process.open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, app):
        client.raise_server_exceptions = False
        yield Target(client, app, root)


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    """The server; whatever a test does, nothing may appear or vanish around the studies."""
    before = server.files()
    yield server
    for name in ("dark", "bright"):
        assert server.client.get("/datastore/image", params={"image": name}).status_code == 200
    assert server.files() == before


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
def test_path_traversal_in_the_id_of_an_image(target: Target, name: str) -> None:
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
def test_names_that_are_paths_or_wildcards_elsewhere(target: Target, name: str) -> None:
    reply = target.client.put("/datastore/image", params={"image": name}, files={"file": ("a.nrrd", target.image)})
    target.refuses(reply, 422)


@pytest.mark.parametrize(
    "name", ["../../planted.nrrd", "/tmp/planted.nrrd", "..\\planted.exe", "a.nrrd\0.png", "..", "x.sh"]
)
def test_path_traversal_in_the_name_of_an_uploaded_file(target: Target, name: str) -> None:
    client, files = target.client, {"file": (name, target.image)}
    ending = client.put("/datastore/image", params={"image": "planted"}, files=files)
    if ending.status_code == 200:  # only what it ends in was used
        assert client.delete("/datastore/image", params={"id": "planted"}).status_code == 200
    session = client.put("/session/", files={"files": (name, target.image)})
    assert session.status_code == 200
    assert session.json()["session_info"]["image"] in ("image", "image.nrrd", "image.png")
    client.delete(f"/session/{session.json()['session_id']}")


@pytest.mark.parametrize("tag", ["../../planted", "/tmp", "..", "a/b", "a\\b", "a\0b", "t" * 65, ".hidden"])
def test_path_traversal_in_a_tag(target: Target, tag: str) -> None:
    files = {"label": ("a.nrrd", target.image)}
    target.refuses(target.client.put("/datastore/label", params={"image": "dark", "tag": tag}, files=files), 422)
    for method in ("GET", "DELETE"):
        key = "label" if method == "GET" else "id"
        target.refuses(target.client.request(method, "/datastore/label", params={key: "dark", "tag": tag}))
    target.refuses(target.client.post("/batch/infer/explain", json={"label_tag": tag}), 422)


@pytest.mark.parametrize(
    "session", ["..%2F..%2Fsecret", "%2e%2e", "nonsense", "A" * 36, "%00", "00000000-0000-0000-0000-000000000000"]
)
def test_path_traversal_in_a_session(target: Target, session: str) -> None:
    for method in ("GET", "DELETE"):
        target.refuses(target.client.request(method, f"/session/{session}"))


def test_a_crafted_session_does_not_open_other_files(target: Target) -> None:
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
def test_path_traversal_in_a_model(target: Target, model: str) -> None:
    for address in (f"/train/{model}", f"/batch/infer/{model}", f"/scoring/{model}", f"/activelearning/{model}"):
        target.refuses(target.client.post(address, json={}), 404)


OVERRIDES = ["image", "images", "model", "session", "path", "bundle_path", "model_filename", "local_rank", "strategy"]


@pytest.mark.parametrize("key", OVERRIDES)
def test_params_that_override_what_the_address_says(target: Target, key: str) -> None:
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
def test_params_that_reach_an_environment_or_a_command_line(target: Target, params: dict[str, Any]) -> None:
    target.refuses(target.client.post("/train/agent", json=params), 422)


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pickled"),)


def test_pickle_upload(target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    weights = pickle.dumps(Exploit())
    for model in ("explain", "agent"):
        target.refuses(target.client.put(f"/model/{model}", files={"file": ("model.pt", weights)}), 403)
    target.refuses(target.client.put("/datastore/image", files={"file": ("model.pt", weights)}), 422)
    reply = target.client.post("/infer/classify", files={"file": ("model.nrrd", weights)}, data={"params": "{}"})
    target.refuses(reply, 422)
    assert not (tmp_path / "pickled").exists()


def test_zip_slip(target: Target) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../../planted.nrrd", target.image)
    files = {"files": ("series.zip", archive.getvalue())}
    content = target.refuses(target.client.put("/session/", params={"uncompress": True}, files=files), 422)
    assert "not unpacked" in content["detail"]
    kept = target.client.put("/session/", files=files).json()["session_id"]
    target.refuses(target.client.post("/infer/classify", params={"session_id": kept}, data={"params": "{}"}), 422)


def _nifti(dims: tuple[int, ...]) -> bytes:
    header = bytearray(352)
    header[:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, *dims, 1, 1, 1, 1], "<i2").tobytes()
    header[70:74] = np.array([4, 16], "<i2").tobytes()
    header[76:108] = np.ones(8, "<f4").tobytes()
    header[108:112] = np.float32(352).tobytes()
    header[344:348] = b"n+1\0"
    return bytes(header)


HUGE = {
    "oversized NIfTI": ("a.nii", _nifti((32767, 32767, 1000))),
    "oversized NRRD": ("a.nrrd", b"NRRD0004\ntype: short\ndimension: 3\nsizes: 1000000 1000000 1\nencoding: raw\n\n"),
    "oversized MetaImage": (
        "a.mha",
        b"NDims = 2\nDimSize = 1000000 1000000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n",
    ),
    "gzip bomb": ("a.nii.gz", gzip.compress(_nifti((8, 6, 1)) + bytes(300 * 2**20), 9)),
}


@pytest.mark.parametrize("name", HUGE)
def test_oversized_header_and_decompression_bomb(target: Target, name: str) -> None:
    import resource

    assert len(HUGE[name][1]) < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = target.client.post("/infer/classify", files={"file": HUGE[name]}, data={"params": "{}"})
    content = target.refuses(reply, 422)
    assert "limit" in content["detail"] or "goes on" in content["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_uploads_beyond_the_limit_are_refused_on_every_route(target: Target) -> None:
    noise = bytes(2 * 2**20)
    for address, field in (
        ("/datastore/image", "file"),
        ("/datastore/label?image=dark", "label"),
        ("/session/", "files"),
    ):
        target.refuses(target.client.put(address, files={field: ("a.nrrd", noise)}), 413)
    for address in ("/train/agent", "/otherwise/jobs", "/batch/infer/explain"):
        content = b'{"minutes": "' + b"x" * (2 * 2**20) + b'"}'
        target.refuses(target.client.post(address, content=content, headers={"content-type": "application/json"}), 413)


@contextlib.contextmanager
def _another_server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_HEAD = do_PUT = do_GET  # noqa: N815

    server = HTTPServer(("127.0.0.1", 0), Note)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_server_side_request_forgery(target: Target) -> None:
    with _another_server() as (url, asked):
        for path in ("/proxy/dicom/wado/x", f"/proxy/dicom/{url}", "/proxy/dicom/qido/..%2F..%2Ftools"):
            target.refuses(target.client.get(path), 403)
            target.refuses(target.client.post(path, content=b"x"), 403)
        target.refuses(target.client.get("/datastore/image", params={"image": url}), 404)
        target.refuses(target.client.post("/infer/classify", params={"image": url}, data={"params": "{}"}), 404)
        target.refuses(target.client.post("/otherwise/jobs", json={"image": url}), 404)
        header = f"NRRD0004\ntype: short\ndimension: 2\nsizes: 8 6\nencoding: raw\ndata file: {url}/x\n\n".encode()
        target.refuses(target.client.post("/infer/classify", files={"file": ("a.nrrd", header)}, data={}), 422)
        assert asked == []


def test_symlinks_that_lead_out_of_the_studies(target: Target) -> None:
    client = target.client
    for name in ("linked", "dangling"):
        target.refuses(client.get("/datastore/image", params={"image": name}), 404)
        target.refuses(client.get("/datastore/image/info", params={"image": name}), 404)
        target.refuses(client.post("/infer/classify", params={"image": name}, data={"params": "{}"}), 404)
        target.refuses(client.delete("/datastore/image", params={"id": name}), 404)
    written = client.put("/datastore/image", params={"image": "dangling"}, files={"file": ("a.nrrd", target.image)})
    target.refuses(written, 409, 422)
    assert not (target.root / "planted.nrrd").exists()


def test_an_upload_never_replaces_an_image(target: Target) -> None:
    before = (target.studies / "dark.nrrd").read_bytes()
    other = (target.studies / "bright.nrrd").read_bytes()
    reply = target.client.put("/datastore/image", params={"image": "dark"}, files={"file": ("a.nrrd", other)})
    target.refuses(reply, 409)
    assert (target.studies / "dark.nrrd").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"a":' * 40 + "1" + "}" * 40,
        json.dumps({"a": [0] * 120_000}),
        '{"a": ' + "9" * 5000 + "}",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        "{",
        "[1]",
    ],
)
def test_json_that_nobody_should_keep(target: Target, content: str) -> None:
    info = {"data": {"info": content}}
    target.refuses(target.client.put("/datastore/image/info", params={"image": "dark"}, **info), 400, 422)
    json_body = {"content": content, "headers": {"content-type": "application/json"}}
    for address in ("/train/agent", "/activelearning/random", "/batch/infer/explain", "/otherwise/jobs"):
        target.refuses(target.client.post(address, **json_body), 400, 413, 422)
    target.refuses(target.client.post("/infer/explain", params={"image": "dark"}, data={"params": content}), 400, 422)
    assert target.client.get("/datastore/", params={"output": "all"}).status_code == 200


def test_thousands_of_parts(target: Target) -> None:
    files = [("files", (f"{number}.dcm", b"x")) for number in range(1500)]
    target.refuses(target.client.put("/session/", files=files), 400)
    fields = {f"field{number}": "x" for number in range(5000)}
    files = {"file": ("a.nrrd", target.image)}
    target.refuses(target.client.put("/datastore/image", data=fields, files=files), 400)


def test_replies_tell_no_path_of_the_server(target: Target) -> None:
    client = target.client
    session = client.put("/session/", files={"files": ("Miller^Anna.nrrd", target.image)}).json()
    assert "Anna" not in json.dumps(session)
    replies = [
        client.get("/datastore/", params={"output": "all"}),
        client.get("/datastore/", params={"output": "train"}),
        client.get("/datastore/image/info", params={"image": "dark"}),
        client.post("/activelearning/random", json={"client_id": "me"}),
        client.get(f"/session/{session['session_id']}"),
        client.get("/info/"),
        client.delete(f"/session/{session['session_id']}"),
    ]
    for reply in replies:
        assert reply.status_code == 200, reply.text
        assert str(target.root) not in reply.text
        assert '"/' not in reply.text


def test_the_last_lines_of_a_training_lose_paths_and_tracebacks(app_class: Any) -> None:
    plain = importlib.import_module("lib.stock_routes.redaction").without_paths
    lines = ["start", "Traceback (most recent call last):", '  File "/srv/app/main.py", line 3, in go', "    go()"]
    status = {"details": [*lines, "OSError: no /srv/data/Anna/x.nrrd here"], "path": "/srv", "request": {"model": "a"}}
    assert plain(status) == {"details": ["start", "OSError: no x.nrrd here"], "request": {"model": "a"}}
    assert plain("see http://host/a/b and 3/4 km/h") == "see http://host/a/b and 3/4 km/h"


@pytest.mark.parametrize(
    "address", ["/logs/", "/logs/gpu", "/reload", "/ohif/", "/ohif/%2e%2e", "/model/explain", "/model/info/agent"]
)
def test_what_discloses_or_restarts_is_closed(target: Target, address: str) -> None:
    for method in ("GET", "POST"):
        target.refuses(target.client.request(method, address), 403, 404)


@pytest.mark.parametrize(
    "address", ["/nothing", "/datastore/nothing", "/static/../main.py", "/static/%2e%2e/config.py"]
)
def test_unknown_addresses_answer_in_our_form(target: Target, address: str) -> None:
    target.refuses(target.client.get(address), 404)
    target.refuses(target.client.patch("/info/"), 405)


def test_a_stock_route_that_stumbles_says_a_number(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*arguments: Any) -> None:
        raise OSError(f"cannot open {target.root}/secret.nrrd")

    monkeypatch.setattr(target.app.datastore(), "status", stumble)
    content = target.refuses(target.client.get("/datastore/"), 500)
    number = content["detail"].split("request ")[1].rstrip(").")
    assert any(number in record.getMessage() and record.exc_info for record in caplog.records)


def test_every_argument_of_every_stock_route_has_a_rule(app_class: Any) -> None:
    """A newer MONAI Label that takes something new is noticed here."""
    rules = importlib.import_module("lib.stock_routes.rules").RULES
    routes = importlib.import_module("lib.stock_routes.wrapped").stock_routes()
    assert {f"{next(iter(route.methods))} {route.path}" for route in routes} | {
        address for address in rules if "/auth" in address
    } == set(rules)
    free = {
        (field.name, field.field_info.annotation)
        for route in routes
        for field in [*route.dependant.query_params, *route.dependant.path_params, *route.dependant.body_params]
    }
    known = {"image", "id", "tag", "label", "check_sum", "params", "info", "file", "files", "session_id"} | {
        "model", "method", "strategy"
    }  # fmt: skip
    assert {name for name, kind in free if not _is_harmless(kind)} == known


def _is_harmless(kind: Any) -> bool:
    from enum import Enum
    from typing import get_args

    parts = [part for part in (get_args(kind) or (kind,)) if part is not type(None)]
    return all(isinstance(part, type) and issubclass(part, bool | int | Enum) for part in parts)
