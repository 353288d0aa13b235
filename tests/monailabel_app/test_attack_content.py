"""Attacks by what is sent: bombs, forged requests, JSON and links; and what replies and errors disclose."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from support.attacked_server import AttackedServer


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
}


def _gzip_bomb() -> tuple[str, bytes]:
    """300 MiB in less than one, made without ever holding them."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(_nifti((8, 6, 1)))
        for _ in range(300):
            file.write(bytes(2**20))
    return "a.nii.gz", packed.getvalue()


@pytest.mark.parametrize("name", [*HUGE, "gzip bomb"])
def test_oversized_header_and_decompression_bomb(target: AttackedServer, name: str) -> None:
    import resource

    file = HUGE.get(name) or _gzip_bomb()
    assert len(file[1]) < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = target.client.post("/infer/classify", files={"file": file}, data={"params": "{}"})
    content = target.refuses(reply, 422)
    assert "limit" in content["detail"] or "goes on" in content["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_uploads_beyond_the_limit_are_refused_on_every_route(target: AttackedServer) -> None:
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


def test_server_side_request_forgery(target: AttackedServer) -> None:
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


def test_symlinks_that_lead_out_of_the_studies(target: AttackedServer) -> None:
    client = target.client
    for name in ("linked", "dangling"):
        target.refuses(client.get("/datastore/image", params={"image": name}), 404)
        target.refuses(client.get("/datastore/image/info", params={"image": name}), 404)
        target.refuses(client.post("/infer/classify", params={"image": name}, data={"params": "{}"}), 404)
        target.refuses(client.delete("/datastore/image", params={"id": name}), 404)
    written = client.put("/datastore/image", params={"image": "dangling"}, files={"file": ("a.nrrd", target.image)})
    target.refuses(written, 409, 422)
    assert not (target.root / "planted.nrrd").exists()


def test_an_upload_never_replaces_an_image(target: AttackedServer) -> None:
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
def test_json_that_nobody_should_keep(target: AttackedServer, content: str) -> None:
    info = {"data": {"info": content}}
    target.refuses(target.client.put("/datastore/image/info", params={"image": "dark"}, **info), 400, 413, 422)
    json_body = {"content": content, "headers": {"content-type": "application/json"}}
    for address in ("/train/agent", "/activelearning/random", "/batch/infer/explain", "/otherwise/jobs"):
        target.refuses(target.client.post(address, **json_body), 400, 413, 422)
    form = {"params": {"image": "dark"}, "data": {"params": content}}
    target.refuses(target.client.post("/infer/explain", **form), 400, 413, 422)
    assert target.client.get("/datastore/", params={"output": "all"}).status_code == 200


def test_thousands_of_parts(target: AttackedServer) -> None:
    files = [("files", (f"{number}.dcm", b"x")) for number in range(1500)]
    target.refuses(target.client.put("/session/", files=files), 400)
    fields = {f"field{number}": "x" for number in range(5000)}
    files = {"file": ("a.nrrd", target.image)}
    target.refuses(target.client.put("/datastore/image", data=fields, files=files), 400)


def test_replies_tell_no_path_of_the_server(target: AttackedServer) -> None:
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
def test_what_discloses_or_restarts_is_closed(target: AttackedServer, address: str) -> None:
    for method in ("GET", "POST"):
        target.refuses(target.client.request(method, address), 403, 404)


@pytest.mark.parametrize(
    "address", ["/nothing", "/datastore/nothing", "/static/../main.py", "/static/%2e%2e/config.py"]
)
def test_unknown_addresses_answer_in_our_form(target: AttackedServer, address: str) -> None:
    target.refuses(target.client.get(address), 404)
    target.refuses(target.client.patch("/info/"), 405)


def test_a_stock_route_that_stumbles_says_a_number(
    target: AttackedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
