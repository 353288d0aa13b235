"""Who may do what: tokens, and a role for every route."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.tokens import Role, add_token, revoke_token
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running

ROLES = {"Rea": Role.READER, "Ann": Role.ANNOTATOR, "Ada": Role.ADMIN}
SAID = {
    "kind": "name",
    "image": "dark",
    "region": {"polygon": [[0, 0, 0], [4, 0, 0], [0, 4, 0]]},
    "term": {"meaning": "mass"},
}


@dataclass(frozen=True)
class Guarded:
    """A server that wants tokens."""

    client: TestClient
    file: Path
    tokens: dict[str, str]

    def ask(self, method: str, address: str, name: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[name]}"} if name else {}
        return self.client.request(method, address, headers=headers, follow_redirects=False, **more)


@pytest.fixture(scope="module")
def guarded(running: Running, app_class: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    root = tmp_path_factory.mktemp("guarded")
    image = Image(np.full((1, 8, 6, 1), 0.1, np.float32), Geometry((8, 6, 1), np.eye(4)), dimension=2)
    write_image(image, root / "studies" / "dark.nrrd")
    file = root / "tokens.txt"
    tokens = {name: add_token(file, name, role) for name, role in ROLES.items()}
    conf = {"state": str(root / "state"), "device": "cpu", "tokens": str(file)}
    with open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, _):
        yield Guarded(client, file, tokens)


def test_every_route_has_a_role_that_somebody_chose(guarded: Guarded) -> None:
    roles, templates = importlib.import_module("lib.access.roles"), importlib.import_module("lib.http.templates")
    from monailabel.app import app as server

    there = {
        f"{method} {route.path}"
        for route in templates.RouteTemplates(server.router.routes)
        for method in route.methods or {"*"}
    }

    assert there - set(roles.TABLE) == set(), "these are the administrator's by default: is that meant?"
    # Not there: MONAI Label's login without its OIDC.
    assert set(roles.TABLE) - there == {"GET /auth/", "POST /auth/token", "GET /auth/token/valid"}


def test_a_route_that_nobody_thought_of_is_the_administrators() -> None:
    roles = importlib.import_module("lib.access.roles")

    assert roles.role_for("PATCH", "/otherwise/new") == Role.ADMIN


def test_without_a_token_only_health_answers(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/otherwise/health").status_code == 200
    for method, address in (("GET", "/info/"), ("GET", "/"), ("POST", "/reload"), ("GET", "/otherwise/about")):
        reply = guarded.ask(method, address)
        assert reply.status_code == 401, address
        assert set(reply.json()) == {"error", "detail", "hint"}
        assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer \x7f", "x" * 5000])
def test_what_is_no_token_lets_nobody_in(guarded: Guarded, header: str) -> None:
    assert guarded.client.get("/info/", headers={"Authorization": header}).status_code == 401


def test_about_says_who_asks(guarded: Guarded) -> None:
    for name, role in ROLES.items():
        reply = guarded.ask("GET", "/otherwise/about", name)
        assert reply.json()["caller"] == {"user": name, "role": role.name.lower()}


@pytest.mark.parametrize(
    ("method", "address", "least"),
    [
        ("GET", "/info/", "Rea"),
        ("GET", "/info", "Rea"),
        ("GET", "/otherwise/nothing", "Rea"),
        ("GET", "/datastore/", "Rea"),
        ("POST", "/otherwise/annotations", "Ann"),
        ("PUT", "/session/", "Ann"),
        ("PUT", "/datastore/label", "Ann"),
        ("POST", "/otherwise/models/none/activate", "Ada"),
        ("DELETE", "/datastore/image", "Ada"),
        ("DELETE", "//datastore/image", "Rea"),
        ("POST", "/train/agent", "Ada"),
    ],
)
def test_roles(guarded: Guarded, method: str, address: str, least: str) -> None:
    for name, role in ROLES.items():
        refused = guarded.ask(method, address, name).status_code == 403
        assert refused == (role < ROLES[least]), (name, address)


def test_nobody_writes_in_the_name_of_somebody_else(guarded: Guarded) -> None:
    reply = guarded.ask("POST", "/otherwise/annotations", "Ann", json={**SAID, "author": "Rea"})

    assert reply.status_code == 201, reply.text
    assert reply.json()["annotation"]["author"] == "Ann"


def test_a_token_that_is_revoked_ends_at_once_and_a_new_one_begins(guarded: Guarded) -> None:
    token = add_token(guarded.file, "Guest", Role.READER)
    header = {"Authorization": f"Bearer {token}"}

    assert guarded.client.get("/info/", headers=header).status_code == 200
    revoke_token(guarded.file, "Guest")
    assert guarded.client.get("/info/", headers=header).status_code == 401


def test_a_file_of_tokens_that_was_opened_to_all_lets_nobody_in(guarded: Guarded) -> None:
    guarded.file.chmod(0o644)
    try:
        reply = guarded.ask("GET", "/info/", "Ada")
        assert (reply.status_code, reply.json()["error"]) == (503, "tokens")
        assert str(guarded.file.parent) not in reply.text
    finally:
        guarded.file.chmod(0o600)
    assert guarded.ask("GET", "/info/", "Ada").status_code == 200
