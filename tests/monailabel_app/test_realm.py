"""MONAI Label's own login (OpenID Connect) knows people by what its realm has signed."""

from __future__ import annotations

import importlib
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from otherwise.tokens import Role


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def realm(app_class: Any, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MONAI Label's login, whose key is fetched already."""
    oidc = importlib.import_module("lib.access.oidc")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setattr(oidc, "get_public_key", lambda uri: public)
    return oidc.Realm()


def signed(key: Any, algorithm: str = "RS256", **changed: Any) -> str:
    roles = {"roles": ["monailabel-user", "monailabel-annotator", "offline_access"]}
    claims = {"preferred_username": "Ann", "realm_access": roles, "exp": time.time() + 60, **changed}
    return jwt.encode({name: claim for name, claim in claims.items() if claim is not None}, key, algorithm)


@pytest.mark.anyio
async def test_a_realm_knows_people_by_what_it_has_signed(realm: Any, key: rsa.RSAPrivateKey) -> None:
    caller = await realm.identify(signed(key))

    assert (caller.user, caller.role) == ("Ann", Role.ANNOTATOR)


@pytest.mark.anyio
async def test_a_realm_knows_nobody_else(realm: Any, key: rsa.RSAPrivateKey) -> None:
    another = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for token in (
        signed(another),
        signed("x" * 32, "HS256"),
        signed(None, "none"),
        signed(key, exp=time.time() - 60),
        signed(key, exp=None),
        signed(key, realm_access={"roles": ["offline_access"]}),
        signed(key, realm_access="monailabel-admin"),
        signed(key, preferred_username=None),
        "no.token.atall",
    ):
        assert await realm.identify(token) is None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
