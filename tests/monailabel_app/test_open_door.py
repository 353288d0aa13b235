"""A server without tokens answers to programs of its own machine that know its secret, and to nobody else."""

from __future__ import annotations

import importlib
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from conftest import Running


def plain_url(running: Running) -> str:
    """The server's address without the secret."""
    return running.url.removesuffix(running.app.address_path)


def secret(running: Running) -> str:
    return str(running.app.address_path.rpartition("/")[2])


def bearer(running: Running) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret(running)}"}


def test_whoever_knows_the_address_is_the_administrator(running: Running) -> None:
    assert running.get("/otherwise/about").json()["caller"] == {"user": "", "role": "admin"}
    reply = requests.get(f"{plain_url(running)}/otherwise/about", headers=bearer(running), timeout=20)
    assert reply.json()["caller"] == {"user": "", "role": "admin"}


@pytest.mark.parametrize("address", ["/info/", "/", "/docs", "/otherwise/about", "/token/x/info/", "/info/?token=x"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Cookie": "otherwise-80=x"}])
def test_what_a_bare_proxy_passes_on_is_refused(running: Running, address: str, headers: dict[str, str]) -> None:
    """nginx's ``proxy_pass`` alone rewrites the host and adds no header: the request looks like one from here."""
    reply = requests.get(plain_url(running) + address, headers=headers, timeout=20, allow_redirects=False)
    assert (reply.status_code, reply.json()["error"]) == (401, "unauthorized")
    assert secret(running) not in reply.text


def test_health_answers_to_everybody(running: Running) -> None:
    assert requests.get(f"{plain_url(running)}/otherwise/health/live", timeout=20).status_code == 200


def test_stock_clients_log_in_by_the_address_alone_also_where_they_are_redirected(running: Running) -> None:
    reply = requests.get(f"{running.url}/info", timeout=20)
    assert reply.status_code == 200
    assert "models" in reply.json()
    assert urlsplit(reply.url).path == f"{running.app.address_path}/info/"


@pytest.mark.parametrize("form", ["{url}/?token={secret}&a=1", "{url}/token/{secret}/?a=1"])
def test_a_browser_gets_a_cookie_and_an_address_without_the_secret(running: Running, form: str) -> None:
    url = plain_url(running)
    with requests.Session() as browser:
        browser.headers["Accept"] = "text/html,application/xhtml+xml"
        first = browser.get(form.format(url=url, secret=secret(running)), timeout=20, allow_redirects=False)
        assert (first.status_code, first.headers["Location"]) == (303, "/?a=1")
        cookie = first.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert first.headers["Referrer-Policy"] == "no-referrer"
        assert browser.get(f"{url}/otherwise/about", timeout=20).status_code == 200


def test_a_wrong_secret_leaves_a_browsers_cookie_alone(running: Running) -> None:
    headers = {"Accept": "text/html"}
    reply = requests.get(f"{plain_url(running)}/?token={'x' * 43}", headers=headers, timeout=20, allow_redirects=False)
    assert reply.status_code == 401
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("path", ["//evil.example/", "/%2F%2Fevil.example", "/\\evil.example"])
def test_a_browser_is_never_sent_to_another_server(running: Running, path: str) -> None:
    headers = {"Accept": "text/html"}
    url = plain_url(running) + running.app.address_path + path
    reply = requests.get(url, headers=headers, timeout=20, allow_redirects=False)
    assert not re.match(r"/[/\\]|[a-z]+:", reply.headers.get("Location", "/"))


def test_other_machines_are_refused_even_with_the_secret(running: Running) -> None:
    from monailabel.app import app as server

    for address in ("192.168.7.7", "::ffff:192.168.7.7", "2001:db8::1"):
        host = f"[{address}]" if ":" in address else address
        reply = TestClient(server, base_url=f"http://{host}", headers=bearer(running)).get("/info/")
        assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
    for address in ("127.0.0.1", "[::1]"):
        assert (
            TestClient(server, base_url=f"http://{address}", headers=bearer(running)).get("/info/").status_code == 200
        )


def test_an_honest_proxy_is_refused_even_with_the_secret(running: Running) -> None:
    from monailabel.app import app as server

    headers = {**bearer(running), "X-Forwarded-For": "192.168.7.7"}
    assert TestClient(server, base_url="http://127.0.0.1").get("/info/", headers=headers).status_code == 403


def test_a_name_that_was_made_to_lead_here_is_refused(running: Running) -> None:
    def status(host: str) -> int:
        headers = {**bearer(running), "Host": host}
        return requests.get(f"{plain_url(running)}/info/", headers=headers, timeout=20).status_code

    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "192.168.7.7", ""):
        assert status(host) == 403, host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "0.0.0.0:8000"):
        assert status(host) == 200, host


def test_the_secret_never_reaches_the_log_or_an_error(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        replies = [running.get(address) for address in ("/info", "/nothing", "/otherwise/jobs/x", "/openapi.json")]
    assert not any(secret(running) in record.getMessage() for record in caplog.records if record.name.startswith("lib"))
    assert not any(secret(running) in reply.text for reply in replies[:3])


@pytest.fixture
def read_secret(app_class: Any) -> Any:
    return importlib.import_module("lib.access.local_secret").read_secret


def test_a_secret_is_made_once_and_its_owner_alone_reads_it(read_secret: Any, tmp_path: Path) -> None:
    made = read_secret(tmp_path / "state")
    file = tmp_path / "state" / "secret"
    file.chmod(0o644)
    assert read_secret(tmp_path / "state") == made
    assert len(made) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_secret(tmp_path / "another") != made


@pytest.mark.parametrize("content", ["", "short\n", "\xff\xfe"])
def test_a_secret_that_is_none_is_made_anew(read_secret: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content, encoding="latin-1")
    assert len(read_secret(tmp_path)) >= 40


def test_a_secret_behind_a_symbolic_link_or_too_short_is_refused(
    read_secret: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otherwise.errors import OtherwiseError

    (tmp_path / "elsewhere").write_text("x" * 43)
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OtherwiseError, match="symbolic link"):
        read_secret(tmp_path)
    monkeypatch.setenv("OTHERWISE_SECRET", "guessable")
    with pytest.raises(OtherwiseError, match="shorter"):
        read_secret(tmp_path / "new")
