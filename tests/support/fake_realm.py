"""A realm of OpenID Connect on a socket, and tokens as Keycloak issues them."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

PASSWORD = "right"
KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("first", "second")}


class FakeRealm:
    """A realm on a socket: its keys can be rotated, and it can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.asked = 0
        self.away = False
        self.refusal = 401  # of a wrong password, as Keycloak answers; RFC 6749, 5.2 says 400
        self.error = "invalid_grant"  # of the same section
        realm = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                realm.asked += self.path.endswith("certs")
                content = realm.configuration() if self.path.endswith("openid-configuration") else realm.jwks()
                self.send_response(503 if realm.away else 200)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                right = form["password"] == [PASSWORD]
                content = {"access_token": signed(realm), "token_type": "Bearer"} if right else {"error": realm.error}
                self.send_response(503 if realm.away else 200 if right else realm.refusal)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/monailabel"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def configuration(self) -> dict[str, str]:
        base = f"{self.url}/protocol/openid-connect"
        return {"issuer": self.url, "jwks_uri": f"{base}/certs", "token_endpoint": f"{base}/token"}

    def jwks(self) -> dict[str, Any]:
        algorithm = jwt.algorithms.RSAAlgorithm
        keys = [{**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": id} for id, key in self.keys.items()]
        return {"keys": [*keys, {"kty": "OKP", "kid": "unknown kind", "crv": "X448"}]}


def signed(
    realm: FakeRealm, key: Any = KEYS["first"], id: str | None = "first", algorithm: str = "RS256", **changed: Any
) -> str:
    """An access token as Keycloak issues it, with some claims changed, or left out where None."""
    typ = changed.pop("header_typ", "JWT")
    roles = {"roles": ["monailabel-user", "monailabel-annotator", "offline_access"]}
    claims = {
        "preferred_username": "Ann",
        "realm_access": roles,
        "exp": time.time() + 60,
        "iss": realm.url,
        "aud": "account",
        "azp": "monailabel-app",
        "typ": "Bearer",
        **changed,
    }
    claims = {name: claim for name, claim in claims.items() if claim is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": id, "typ": typ} if id else {"typ": typ})
