"""``otherwise doctor --security``: what is well at a real server, and each fault where a server has it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otherwise.cli import build, run
from otherwise.cli.doctor import security_checks
from otherwise.cli.doctor.checks import CheckResult
from otherwise.cli.doctor.command import examine_all
from otherwise.cli.doctor.security_checks import LIVE, CheckedServer
from otherwise.tokens import Role, add_token
from support.certificates import make_certificate

if TYPE_CHECKING:
    from conftest import Running

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str]]]


def found_at(server: CheckedServer, state: Path | None = None, tokens: Path | None = None) -> dict[str, CheckResult]:
    return {each.name: each for each in examine_all(security_checks.security_checks(server, state, tokens))}


@contextmanager
def answering(answer: Answer, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A server that answers every request by ``answer``, which has the status and headers."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            status, headers = answer(self)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST = do_OPTIONS = _answer  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{scheme}://{'localhost' if certificate else '127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def strict(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str]]:
    """As our server answers strangers."""
    return (200 if request.path == LIVE else 401), {}


def test_nothing_is_wrong_with_our_own_server(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    state = running.app.options.state
    words = ["doctor", "--security", "--address", running.url, "--state", str(state), "--json"]

    assert run(build, words) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}

    assert {name for name, each in found.items() if each["state"] != "ok"} == {"role"}
    assert "administrator" in found["role"]["what"]


def test_a_stranger_looks_at_less(running: Running) -> None:
    found = found_at(CheckedServer.at(running.url.removesuffix(running.app.address_path)))

    assert {name for name, each in found.items() if each.state == "warn"} == {"pages", "sizes", "role"}
    assert not [each for each in found.values() if each.state == "fail"]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("server", lambda request: (404, {})),
        ("tokens", lambda request: (200, {})),
        ("tokens", lambda request: (200 if request.path in (LIVE, "/docs") else 401, {})),
        ("proxy", lambda request: (200 if request.headers["X-Forwarded-For"] else strict(request)[0], {})),
        ("proxy", lambda request: (200 if request.headers["Host"] == "localhost" else strict(request)[0], {})),
        ("origins", lambda request: (strict(request)[0], {"Access-Control-Allow-Origin": "*"})),
        ("origins", lambda request: (200 if request.headers["Origin"] else strict(request)[0], {})),
        ("closed routes", lambda request: (200 if request.path == "/logs/" else strict(request)[0], {})),
    ],
)
def test_each_fault_is_found(name: str, answer: Answer) -> None:
    with answering(answer) as address:
        found = found_at(CheckedServer.at(address))

    assert (found[name].state, bool(found[name].hint)) == ("fail", True)


def test_a_page_without_a_policy_is_found() -> None:
    def careless(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str]]:
        return (200 if request.headers["Authorization"] == "Bearer mine" else strict(request)[0]), {}

    with answering(careless) as address:
        found = found_at(CheckedServer.at(f"{address}/token/mine"))

    assert found["pages"].state == "fail"


@pytest.mark.parametrize(("later", "state"), [(0, "ok"), (30, "warn"), (41, "fail")])
def test_certificates_end(tmp_path: Path, later: int, state: str) -> None:
    pair = make_certificate(tmp_path, "a", days=40)
    now = datetime.now(UTC) + timedelta(days=later)
    with answering(strict, pair) as address:
        assert security_checks.certificate(CheckedServer.at(address, pair[0]), now).state == state


def test_a_port_of_this_machine_is_asked_as_it_speaks(tmp_path: Path) -> None:
    """The certificate names the host as others know it, and not the loopback address."""
    certificate, key = make_certificate(tmp_path, "server")
    with answering(strict, (certificate, key)) as address:
        server = CheckedServer.listening("127.0.0.1", int(address.rsplit(":", 1)[1]), certificate)
        found = found_at(server)
    assert {found[name].state for name in ("server", "encryption", "tokens", "proxy")} == {"ok"}
    assert "names were not compared" in found["certificate"].what
    with answering(strict) as address:
        plain = CheckedServer.listening("127.0.0.1", int(address.rsplit(":", 1)[1]))
        assert found_at(plain)["server"].state == "ok"
    assert (server.scheme, plain.scheme) == ("https", "http")


def test_a_certificate_that_nobody_vouches_for_is_found(tmp_path: Path) -> None:
    with answering(strict, make_certificate(tmp_path, "a")) as address:
        found = found_at(CheckedServer.at(address))

    assert "not trusted" in found["certificate"].what
    assert "--certificate" in found["certificate"].hint


def test_plain_http_across_the_network_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert security_checks.encryption(CheckedServer.at("http://192.0.2.7:8000")).state == "fail"
    with answering(strict) as address:
        assert security_checks.encryption(CheckedServer.at(address)).state == "ok"
        monkeypatch.setattr(security_checks, "_own_addresses", lambda: ["127.0.0.1"])  # stands for one of the network
        assert security_checks.encryption(CheckedServer.at(address)).state == "fail"


def test_what_other_users_of_the_machine_can_read_is_found(tmp_path: Path) -> None:
    state, tokens = tmp_path / "state", tmp_path / "tokens.txt"
    state.mkdir(mode=0o700)
    (state / "secret").write_text("x")
    (state / "secret").chmod(0o600)
    add_token(tokens, "Ada", Role.ADMIN)
    assert security_checks.private(state, "state").state == "ok"
    assert security_checks.private(tokens, "tokens").state == "ok"

    (state / "secret").chmod(0o644)
    assert security_checks.private(state, "state").state == "fail"
    (state / "secret").chmod(0o600)
    state.chmod(0o755)
    assert security_checks.private(state, "state").state == "fail"
    tokens.chmod(0o644)
    assert security_checks.private(tokens, "tokens").state == "fail"
    tokens.chmod(0o600)
    (tmp_path / "link").symlink_to(tokens)
    assert security_checks.private(tmp_path / "link", "tokens").state == "fail"
    assert security_checks.private(tmp_path / "nothing", "tokens").state == "fail"


def test_a_server_that_is_away_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build, ["doctor", "--security", "--port", "9", "--json"]) == 1
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["server"]["state"] == "fail"
    assert run(build, ["doctor", "--security", "--address", "nothing"]) == 2


def test_the_token_is_not_shown(running: Running) -> None:
    server = CheckedServer.at(running.url)
    shown = repr(server) + json.dumps([each.what + each.hint for each in found_at(server).values()])

    assert server.token
    assert server.token not in shown
