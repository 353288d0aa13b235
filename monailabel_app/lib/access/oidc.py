"""MONAI Label's own login: tokens of an OpenID Connect realm (Keycloak), with the roles that its settings name.

MONAI Label's own check names no signatures, which PyJWT refuses since 2.0, fetches the realm's key once for good, and
looks at neither audience, issuer nor kind of token. This one reads the same settings, and follows RFC 8725 (JSON Web
Token Best Current Practices): algorithms 3.1, issuer 3.8, audience 3.9, kind of token 3.11.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import requests
from monailabel.config import settings

from lib.http.caller import Caller
from otherwise.errors import OtherwiseError
from otherwise.tokens import Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
KEY_SECONDS = 300.0
"""Age at which the realm's keys are fetched again: a key that the realm has withdrawn is valid no longer than this."""
LEAST_SECONDS = 10.0
"""Between two fetches because of unknown keys: anybody can send tokens that name one."""
LEEWAY_SECONDS = 30
"""By how much the clocks of both machines may differ."""
MOST_BYTES = 2**20
"""Of an answer of the realm."""


class RealmError(OtherwiseError):
    """The realm does not answer."""

    code = "realm"
    status = 503


class RealmKeys:
    """The keys with which a realm signs at present.

    Args:
        realm: Address of the realm, as ``MONAI_LABEL_AUTH_REALM_URI`` has it.
    """

    def __init__(self, realm: str) -> None:
        self.realm = realm.rstrip("/")
        self.issuer = ""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -KEY_SECONDS
        self._lock = threading.Lock()

    def find(self, id: str | None) -> jwt.PyJWK | None:
        """Return the key that a token names; None: the realm has no such key.

        Raises:
            RealmError: if the realm does not answer, and its keys are older than ``KEY_SECONDS``.
        """
        with self._lock:
            age = time.monotonic() - self._fetched
            if age >= KEY_SECONDS or (id not in self._keys and age >= LEAST_SECONDS):
                try:
                    self._fetch()
                except (requests.RequestException, jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
                    if age >= KEY_SECONDS:
                        raise RealmError("The server of logins does not answer.", "Tell its administrator.") from error
            if id is None and len(self._keys) == 1:
                return next(iter(self._keys.values()))
            return self._keys.get(id or "")

    def _fetch(self) -> None:
        configuration = _get_json(f"{self.realm}/.well-known/openid-configuration")
        content = _get_json(str(configuration["jwks_uri"]))
        keys = {}
        for entry in content["keys"]:
            if entry.get("use", "sig") != "sig":
                continue
            try:
                key = jwt.PyJWK(entry)
            except jwt.PyJWTError:  # of a kind that this server does not know
                continue
            keys[key.key_id or ""] = key
        self._keys, self.issuer, self._fetched = keys, str(configuration["issuer"]), time.monotonic()


class Realm:
    """Identifies users by tokens that a realm has signed for this server."""

    def __init__(self) -> None:
        self.keys = RealmKeys(settings.MONAI_LABEL_AUTH_REALM_URI)
        self._threads = ThreadPoolExecutor(4, "otherwise-realm")

    def check(self) -> None:
        """Do nothing: keys are fetched with the first token."""

    async def identify(self, token: str) -> Caller | None:
        """Return the holder of a token; None if there is none.

        Raises:
            RealmError: if the realm does not send its keys.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._identify, token)

    def _identify(self, token: str) -> Caller | None:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, id = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not (id is None or isinstance(id, str)):
                return None
            key = self.keys.find(id)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=self.keys.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss"], "verify_aud": False},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError):
            return None
        return caller_of(claims) if is_for_us(claims) and is_access_token(header, claims) else None


def is_for_us(claims: dict[str, Any]) -> bool:
    """Return whether a token was issued for this server: its client is the audience, or the authorised party.

    Keycloak names the client in ``azp`` and, unless a mapper is configured, another service in ``aud``.
    """
    audience = claims.get("aud", [])
    names = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    return settings.MONAI_LABEL_AUTH_CLIENT_ID in (*names, claims.get("azp"))


def is_access_token(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Return whether a token lets somebody in, other than ID tokens, refresh tokens and logout tokens.

    RFC 9068 marks access tokens by the header ``typ: at+jwt``, Keycloak by the claim ``typ: Bearer``.
    """
    kind = str(header.get("typ", "")).lower().removeprefix("application/")
    return kind == "at+jwt" or claims.get("typ") == "Bearer"


def caller_of(claims: dict[str, Any]) -> Caller | None:
    """Return the user of a token's claims; None if they name no user, or a user without a role here."""
    found: Any = claims
    for part in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(part) if isinstance(found, dict) else None
    named = {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
    roles = {
        settings.MONAI_LABEL_AUTH_ROLE_USER: Role.READER,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER: Role.READER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR: Role.ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN: Role.ADMIN,
    }
    highest = max((role for name, role in roles.items() if name in named), default=None)
    user = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME)
    return Caller(user, highest) if isinstance(user, str) and user and highest else None


def _get_json(address: str) -> dict[str, Any]:
    with requests.get(address, timeout=settings.MONAI_LABEL_AUTH_TIMEOUT, stream=True) as reply:
        reply.raise_for_status()
        content = reply.raw.read(MOST_BYTES + 1, decode_content=True)
    if len(content) > MOST_BYTES:
        raise ValueError("too much")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found
