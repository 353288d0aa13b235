"""A server without tokens answers to its own machine, and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from conftest import Running


def test_on_ones_own_machine_nobody_is_asked(running: Running) -> None:
    assert running.get("/otherwise/about").json()["caller"] == {"user": "", "role": "admin"}


def test_without_tokens_other_machines_are_refused_however_the_server_was_started(running: Running) -> None:
    from monailabel.app import app as server

    for address in ("192.168.7.7", "::ffff:192.168.7.7", "2001:db8::1"):
        reply = TestClient(server, base_url=f"http://{'[' + address + ']' if ':' in address else address}").get(
            "/info/"
        )
        assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
    for address in ("127.0.0.1", "[::1]"):
        assert TestClient(server, base_url=f"http://{address}").get("/info/").status_code == 200


def test_without_tokens_a_proxy_is_refused(running: Running) -> None:
    from monailabel.app import app as server

    assert TestClient(server).get("/info/", headers={"X-Forwarded-For": "192.168.7.7"}).status_code == 403


def test_a_name_that_was_made_to_lead_here_is_refused(running: Running) -> None:
    def status(host: str) -> int:
        return requests.get(f"{running.url}/info/", headers={"Host": host}, timeout=20).status_code

    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "192.168.7.7", ""):
        assert status(host) == 403, host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "0.0.0.0:8000"):
        assert status(host) == 200, host
