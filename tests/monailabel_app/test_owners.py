"""What one person uploads, and everything made of it, is shown to that person and to administrators only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.tokens import Role, add_token
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running

ROLES = {"Ann": Role.ANNOTATOR, "Ben": Role.ANNOTATOR, "Rea": Role.READER, "Ada": Role.ADMIN}


@dataclass(frozen=True)
class Shared:
    """A server that several people use."""

    client: TestClient
    app: Any
    tokens: dict[str, str]
    upload: bytes

    def ask(self, name: str, method: str, address: str, **more: Any) -> Any:
        return self.client.request(method, address, headers={"Authorization": f"Bearer {self.tokens[name]}"}, **more)

    def session(self, name: str) -> str:
        reply = self.ask(name, "PUT", "/session/", files={"files": ("mine.nrrd", self.upload)})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["session_id"])

    def explain(self, name: str, **what: Any) -> dict[str, Any]:
        reply = self.ask(name, "POST", "/infer/explain", params={**what, "output": "json"}, data={"params": "{}"})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


@pytest.fixture(scope="module")
def shared(running: Running, app_class: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    root = tmp_path_factory.mktemp("shared")
    for name, brightness in (("studies/dark", 0.1), ("mine", 0.3)):
        noise = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
        image = Image(noise + np.float32(brightness), Geometry((8, 6, 1), np.eye(4)), dimension=2)
        write_image(image, root / f"{name}.nrrd")
    tokens = {name: add_token(root / "tokens.txt", name, role) for name, role in ROLES.items()}
    conf = {"state": str(root / "state"), "device": "cpu", "tokens": str(root / "tokens.txt"), "rate": "0"}
    with open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, app):
        yield Shared(client, app, tokens, (root / "mine.nrrd").read_bytes())


def test_ids_of_sessions_cannot_be_guessed_and_are_told_to_nobody(shared: Shared) -> None:
    id = shared.session("Ann")
    assert uuid.UUID(id).version == 4
    explained = shared.explain("Ann", session_id=id)
    assert explained["image"]["id"].startswith("session-")
    assert id[:4] not in explained["image"]["id"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_sessions_are_their_owners(shared: Shared, method: str) -> None:
    id = shared.session("Ann")
    for stranger in ("Ben", "Rea"):
        assert shared.ask(stranger, "GET", f"/session/{id}", params={"image": True}).status_code == 404
    assert shared.ask("Ben", "DELETE", f"/session/{id}").status_code == 404
    asked = {"params": {"session_id": id}, "data": {"params": "{}"}}
    assert shared.ask("Ben", "POST", "/infer/classify", **asked).status_code == 404
    assert shared.ask("Ben", "POST", "/otherwise/jobs", json={"session": id}).status_code == 404
    body = {"kind": "name", "session": id, "term": {"meaning": "mass"}, "region": SQUARE}
    assert shared.ask("Ben", "POST", "/otherwise/annotations", json=body).status_code == 404
    assert shared.ask("Ada", method, f"/session/{id}").status_code == 200
    if method == "GET":
        assert shared.ask("Ann", "GET", f"/session/{id}", params={"image": True}).content == shared.upload


SQUARE = {"polygon": [[0, 0, 0], [4, 0, 0], [0, 4, 0]]}


def private_explanation(shared: Shared, how: str) -> str:
    if how == "session":
        return str(shared.explain("Ann", session_id=shared.session("Ann"))["id"])
    if how == "upload":
        files = {"file": ("mine.nrrd", shared.upload)}
        reply = shared.ask(
            "Ann", "POST", "/infer/explain", params={"output": "json"}, files=files, data={"params": "{}"}
        )
        return str(reply.json()["id"])
    job = shared.ask("Ann", "POST", "/otherwise/jobs", json={"session": shared.session("Ann"), "fresh": True}).json()
    with shared.client.stream(
        "GET", f"/otherwise/jobs/{job['id']}/events", headers={"Authorization": f"Bearer {shared.tokens['Ann']}"}
    ) as events:
        last = [line for line in events.iter_lines() if line.startswith("data: ")][-1]
    return str(json.loads(last.removeprefix("data: "))["result"]["id"])


@pytest.mark.parametrize("how", ["session", "upload", "job"])
def test_explanations_of_uploads_are_their_owners(shared: Shared, how: str) -> None:
    id = private_explanation(shared, how)
    base = f"/otherwise/explanations/{id}"
    addresses = [
        base,
        *(f"{base}/{rest}" for rest in ("files/explanation.json", "report.html", "report.pdf", "dicom.zip")),
    ]
    for address in addresses:
        for stranger in ("Ben", "Rea"):
            reply = shared.ask(stranger, "GET", address)
            assert (reply.status_code, reply.json()["error"]) == (404, "not-found"), address
    for address in addresses[:4]:
        assert shared.ask("Ann", "GET", address).status_code == 200, address
        assert shared.ask("Ada", "GET", address).status_code == 200, address
    attribute = {"kind": "attribute", "explanation": id, "params": {"method": "occlusion"}}
    assert shared.ask("Ben", "POST", "/otherwise/jobs", json=attribute).status_code in (404, 422)
    query = {"explanation": id, "region": {"label": 1}}
    assert shared.ask("Ben", "POST", "/otherwise/concepts/query", json=query).status_code == 404
    body = {"kind": "agree", "explanation": id}
    assert shared.ask("Ben", "POST", "/otherwise/annotations", json=body).status_code == 404
    assert shared.ask("Ben", "POST", f"{base}/store").status_code == 404
    body = {"kind": "name", "explanation": id, "region": {"label": 1}, "term": {"meaning": "mass"}}
    assert shared.ask("Ann", "POST", "/otherwise/annotations", json=body).status_code == 201
    for name, sees in (("Ann", True), ("Ada", True), ("Ben", False), ("Rea", False)):
        assert (id in shared.ask(name, "GET", "/otherwise/annotations").text) == sees, name


@pytest.mark.parametrize("picture", ["contour.png", "mask.seg.nrrd"])
def test_where_a_unit_answers_in_an_upload_is_shown_to_its_owner_alone(shared: Shared, picture: str) -> None:
    id = private_explanation(shared, "session")
    address = f"/otherwise/concepts/units/layer3/0/{picture}?explanation={id}&label=1"
    # The models of this server have no units, so whoever may see the image is told that these are not there yet.
    for name, error in (("Ann", "not-yet"), ("Ada", "not-yet"), ("Ben", "not-found"), ("Rea", "not-found")):
        assert shared.ask(name, "GET", address).json()["error"] == error, name


def test_the_same_upload_of_two_people_is_two_explanations(shared: Shared) -> None:
    files = {"files": ("mine.nrrd", shared.upload)}
    ids = []
    for name in ("Ann", "Ben"):
        session = shared.ask(name, "PUT", "/session/", files=files).json()["session_id"]
        job = shared.ask(name, "POST", "/otherwise/jobs", json={"session": session}).json()
        headers = {"Authorization": f"Bearer {shared.tokens[name]}"}
        with shared.client.stream("GET", f"/otherwise/jobs/{job['id']}/events", headers=headers) as events:
            list(events.iter_lines())
        result = shared.ask(name, "GET", f"/otherwise/jobs/{job['id']}").json()["result"]
        assert shared.ask(name, "GET", f"/otherwise/explanations/{result['id']}").status_code == 200
        ids.append(result["id"])
    assert ids[0] != ids[1]


def test_explanations_of_the_studies_are_everybodys(shared: Shared) -> None:
    id = shared.explain("Ann", image="dark")["id"]
    for name in ROLES:
        assert shared.ask(name, "GET", f"/otherwise/explanations/{id}").status_code == 200


def test_owners_outlive_a_restart_and_a_damaged_record_opens_nothing(app_class: Any, tmp_path: Path) -> None:
    import importlib

    owners = importlib.import_module("lib.storage.owners")
    made = owners.Owners(tmp_path / "owners")
    made.set("a", "Ann")
    again = owners.Owners(tmp_path / "owners")
    assert again.get("a") == "Ann"
    assert again.get("b") is None
    (tmp_path / "owners" / "a.json").write_text("{")
    assert not owners.Caller("Ben", Role.READER).sees(again.get("a"))
    assert owners.Caller("Ada", Role.ADMIN).sees(again.get("a"))
    again.remove("a")
    assert again.get("a") is None
