"""The OpenAPI description tells every field of every reply, and nothing that is not so."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import requests

from support.teachable_server import SPICULATED, TeachableServer, teachable_server

if TYPE_CHECKING:
    from conftest import Running

JSON = "application/json"


@pytest.fixture
def taught(running: Running, app_class: Any, tmp_path: Path) -> Iterator[TeachableServer]:
    with teachable_server(tmp_path, app_class) as server:
        server.settle()
        found = [server.explain(f"image-{number:02d}") for number in range(3)]
        for each in found[:2]:
            region = {"label": each["regions"][0]["label"]}
            body = {"kind": "name", "explanation": each["id"], "region": region, "term": SPICULATED}
            for author in ("Ada", "Ben"):
                assert server.say(author=author, **body).status_code == 201
        server.settle()
        yield server


def schema_of(description: dict[str, Any], method: str, path: str, status: int) -> dict[str, Any]:
    """Return the schema of a reply in which fields that are not described are errors."""
    responses = description["paths"][path][method.lower()]["responses"]
    answer = responses.get(str(status)) or responses[f"{status // 100}XX"]
    schemas = description["components"]["schemas"]
    closed = {name: {**schema, "additionalProperties": False} for name, schema in schemas.items()}
    return {**_inlined(answer["content"][JSON]["schema"], closed), "components": {"schemas": closed}}


def _inlined(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return dict(schemas[name]) if name else dict(schema)


def check(server: Any, method: str, path: str, query: str = "", status: int = 200, **more: Any) -> Any:
    """Ask, and compare the reply with its description."""
    template, address = path, more.pop("address", path)
    reply = server.request(method, f"{address}{query}", **more)
    assert reply.status_code == status, reply.text
    description = server.request("GET", "/openapi.json").json()
    jsonschema.validate(reply.json(), schema_of(description, method, template, status))
    return reply.json()


class Asked:
    """A server over HTTP with the same face as a test client."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, address: str, **more: Any) -> requests.Response:
        return requests.request(method, self.url + address, timeout=20, **more)


def test_replies_about_the_server_are_as_described(running: Running) -> None:
    server = Asked(running.url)
    for path in ("/about", "/studies", "/models", "/health", "/health/live", "/health/ready", "/vocabulary"):
        check(server, "GET", f"/otherwise{path}")
    check(server, "GET", "/otherwise/jobs/{id}", address="/otherwise/jobs/none", status=404)
    check(server, "POST", "/otherwise/jobs", json={"kind": "dance"}, status=422)
    check(server, "GET", "/datastore/image/info", "?image=none", status=404)


def test_replies_about_jobs_and_explanations_are_as_described(running: Running) -> None:
    server = Asked(running.url)
    job = check(server, "POST", "/otherwise/jobs", json={"kind": "explain", "image": "dark"}, status=202)
    address = f"/otherwise/jobs/{job['id']}"
    requests.get(f"{running.url}{address}/events", timeout=20)
    done = check(server, "GET", "/otherwise/jobs/{id}", address=address)
    assert done["state"] == "done"
    check(server, "GET", "/otherwise/jobs")
    check(server, "POST", "/otherwise/jobs/{id}/repeat", address=f"{address}/repeat", status=202)
    check(server, "DELETE", "/otherwise/jobs/{id}", address=address, status=202)
    content = requests.get(f"{running.url}/otherwise/explanations/{done['result']['id']}", timeout=20).json()
    models = importlib.import_module("lib.routes.replies.explanations")
    models.ExplanationReply.model_validate(content, strict=True)


def test_replies_about_teaching_are_as_described(taught: TeachableServer) -> None:
    server = taught.client
    annotations = check(server, "GET", "/otherwise/annotations")["annotations"]
    check(server, "GET", "/otherwise/concepts")
    check(server, "GET", "/otherwise/concepts/units")
    check(server, "GET", "/otherwise/concepts/questions", "?count=3")
    check(server, "GET", "/otherwise/concepts/search", "?words=Spiculated lesion")
    region = f"?explanation={annotations[0]['explanation']}&label=1"
    check(server, "GET", "/otherwise/concepts/similar", region)
    query = {"explanation": annotations[0]["explanation"], "region": {"label": 1}}
    answer = check(server, "POST", "/otherwise/concepts/query", json=query)
    assert any(unit["votes"] for unit in answer["units"]), "votes are among what is compared"
    withdrawn = {"kind": "withdraw", "author": "Ben", "withdraws": annotations[1]["id"]}
    check(server, "POST", "/otherwise/annotations", json=withdrawn, status=201)
    check(server, "POST", "/train/concepts")
    taught.settle()
    version = check(server, "GET", "/otherwise/concepts")["versions"][-1]["version"]
    for choice in (version, "latest"):
        check(server, "POST", "/otherwise/concepts/activate", json={"version": choice})


def test_no_reply_of_ours_is_left_undescribed(running: Running) -> None:
    description = running.get("/openapi.json").json()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert {"4XX", "5XX"} <= set(responses), f"{method} {path}"
            if path.startswith("/otherwise") or path in ("/train/concepts", "/infer/{model}"):
                (good,) = [code for code in responses if code.startswith("2") and code != "202"] or ["202"]
                content = responses[good]["content"]
                assert all(kind == "text/event-stream" or each["schema"] for kind, each in content.items()), path
    page = running.get("/docs").text
    links = set(re.findall(r'href="#(\w+)"', page))
    assert {"JobReply", "AboutReply", "ErrorReply"} <= links
    assert links <= set(re.findall(r'id="(\w+)"', page))
