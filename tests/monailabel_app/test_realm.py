"""MONAI Label's own login (OpenID Connect) knows people by what its realm signs for this server now."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from fastapi.testclient import TestClient

from otherwise.errors import OtherwiseError
from otherwise.tokens import Role
from support.fake_realm import KEYS, PASSWORD, FakeRealm, signed


@pytest.fixture
def realm(app_class: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRealm]:
    from monailabel.config import settings

    made = FakeRealm()
    made.keys = {"first": KEYS["first"]}
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def login(realm: FakeRealm) -> Any:
    return importlib.import_module("lib.access.oidc").Realm()


@pytest.mark.anyio
async def test_a_realm_knows_people_by_what_it_has_signed(login: Any, realm: FakeRealm) -> None:
    for token in (
        signed(realm),
        signed(realm, aud=["account", "monailabel-app"], azp="another"),
        signed(realm, typ=None, header_typ="at+jwt", aud="monailabel-app"),
        signed(realm, id=None),
    ):
        caller = await login.identify(token)
        assert (caller.user, caller.role) == ("Ann", Role.ANNOTATOR)


@pytest.mark.anyio
async def test_a_realm_knows_nobody_else(login: Any, realm: FakeRealm) -> None:
    another = KEYS["second"]
    for token in (
        signed(realm, another),
        signed(realm, "x" * 32, algorithm="HS256"),
        signed(realm, None, algorithm="none"),
        signed(realm, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        signed(realm, exp=time.time() - 60),
        signed(realm, exp=None),
        signed(realm, nbf=time.time() + 600),
        signed(realm, realm_access={"roles": ["offline_access"]}),
        signed(realm, realm_access="monailabel-admin"),
        signed(realm, realm_access={"roles": [{"a": 1}]}),
        signed(realm, preferred_username=None),
        signed(realm, id="unknown"),
        "no.token.atall",
        "",
        "é",
    ):
        assert await login.identify(token) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": "http://another.example/realms/monailabel"},
        {"aud": "another-app", "azp": "another-app"},
        {"aud": None, "azp": None},
        {"aud": {"monailabel-app": 1}, "azp": None},
        {"typ": "ID", "aud": "monailabel-app"},
        {"typ": "Refresh"},
        {"typ": "Logout", "aud": "monailabel-app"},
        {"typ": None},
    ],
)
@pytest.mark.anyio
async def test_tokens_for_others_and_for_other_purposes_let_nobody_in(
    login: Any, realm: FakeRealm, changed: dict[str, Any]
) -> None:
    assert await login.identify(signed(realm, **changed)) is None


@pytest.mark.anyio
async def test_a_key_that_is_rotated_counts_at_once_and_the_old_one_no_longer(
    login: Any, realm: FakeRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = importlib.import_module("lib.access.oidc")
    assert await login.identify(signed(realm)) is not None
    realm.keys = {"second": KEYS["second"]}
    monkeypatch.setattr(oidc, "LEAST_SECONDS", 0.0)
    assert await login.identify(signed(realm, KEYS["second"], "second")) is not None
    assert await login.identify(signed(realm)) is None, "the realm has withdrawn it"


@pytest.mark.anyio
async def test_a_key_that_was_withdrawn_ends_with_its_age(
    login: Any, realm: FakeRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = importlib.import_module("lib.access.oidc")
    assert await login.identify(signed(realm)) is not None
    realm.keys = {"second": KEYS["second"]}
    assert await login.identify(signed(realm)) is not None
    monkeypatch.setattr(oidc, "KEY_SECONDS", 0.0)
    assert await login.identify(signed(realm)) is None


@pytest.mark.anyio
async def test_made_up_keys_do_not_make_the_server_ask_the_realm_each_time(login: Any, realm: FakeRealm) -> None:
    for number in range(20):
        assert await login.identify(signed(realm, id=f"made-up-{number}")) is None
    assert realm.asked == 1


@pytest.mark.anyio
async def test_a_realm_that_is_away_is_told_and_known_keys_go_on(
    login: Any, realm: FakeRealm, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = importlib.import_module("lib.access.oidc")
    realm.away = True
    with pytest.raises(OtherwiseError) as caught:
        await login.identify(signed(realm))
    assert caught.value.status == 503
    realm.away = False
    assert await login.identify(signed(realm)) is not None
    realm.away = True
    monkeypatch.setattr(oidc, "LEAST_SECONDS", 0.0)
    assert await login.identify(signed(realm, id="unknown")) is None
    assert await login.identify(signed(realm)) is not None


@pytest.mark.parametrize("status", [400, 401])
def test_a_log_in_that_the_realm_refuses_is_no_fault_of_a_server(
    realm: FakeRealm, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    from monailabel.config import settings

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    routes = importlib.import_module("lib.stock_routes.wrapped")
    server = FastAPI()
    server.include_router(
        routes.guarded_router(None, importlib.import_module("lib.http.errors").route_class(body_limit=2**20))
    )
    client = TestClient(server)

    def log_in(password: str) -> tuple[int, Any]:
        reply = client.post("/auth/token", data={"username": "Ann", "password": password})
        return reply.status_code, reply.json()

    realm.refusal = status
    assert log_in(PASSWORD)[0] == 200
    refused, reply = log_in("wrong")
    assert (refused, reply["error"]) == (401, "unauthorized")
    assert "password" in reply["hint"]
    realm.error = "unauthorized_client"  # this server may not ask for log-ins: nobody's password is wrong
    assert log_in("wrong")[0] == 502
    realm.away = True
    refused, reply = log_in(PASSWORD)
    assert (refused, reply["error"]) == (502, "upstream")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
