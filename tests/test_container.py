"""The container and the archive beside it: what can be known of them without building them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SECRET = re.compile(r"(password|secret|token|api_?key)\w*\s*[:=]\s*['\"]?(?!\$\{)[\w/+-]{6,}", re.IGNORECASE)


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their words."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def words(steps: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in steps if name == instruction]


def test_images_are_pinned(steps: list[tuple[str, str]], compose: dict[str, Any]) -> None:
    images = [base.split()[0] for base in words(steps, "FROM")]
    images += [service["image"] for service in compose["services"].values() if "build" not in service]
    for image in images:
        assert re.search(r":\d+\.\d+\.\d+", image), image


def test_the_server_is_not_root_and_is_looked_after(steps: list[tuple[str, str]]) -> None:
    last = [name for name, _ in steps].index("FROM", 1)
    final = steps[last:]

    (user,) = words(final, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    (health,) = words(final, "HEALTHCHECK")
    assert "/otherwise/health/ready" in health
    assert words(final, "ENTRYPOINT") == ['["otherwise"]'], "signals have to reach the server itself"


def test_the_health_check_asks_the_server_itself_and_no_proxy(steps: list[tuple[str, str]]) -> None:
    (health,) = words(steps, "HEALTHCHECK")
    _, _, code = json.loads(health[health.index("CMD") + 3 :])

    class Ready(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/otherwise/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = code.replace(":8000", f":{server.server_port}")
        environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        for status, fails in ((200, False), (503, True)):
            Ready.status = status
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
            assert bool(done.returncode) == fails, done.stderr
        server.shutdown()


def test_what_is_installed_is_what_was_tested(steps: list[tuple[str, str]]) -> None:
    installs = [rest for rest in words(steps, "RUN") if "pip install" in rest]

    assert installs
    assert all("-c constraints.txt" in rest for rest in installs)


def test_what_the_build_copies_is_there_and_nothing_else_is_sent(steps: list[tuple[str, str]]) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    for copied in (rest for rest in words(steps, "COPY") if not rest.startswith("--from")):
        for name in copied.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in ignored


def test_nothing_secret_is_written_down() -> None:
    for name in ("Dockerfile", "compose.yaml"):
        text = re.sub(r"^\s*#.*$", "", (ROOT / name).read_text(), flags=re.MULTILINE)
        assert not SECRET.search(text), name
    assert SECRET.search("PASSWORD: orthanc1"), "the search finds what it looks for"


def test_the_archive_is_reached_by_the_server_only(compose: dict[str, Any]) -> None:
    archive, server = compose["services"]["archive"], compose["services"]["server"]

    assert "ports" not in archive
    assert [compose["networks"][name] for name in archive["networks"]] == [{"internal": True}]
    assert set(archive["networks"]) < set(server["networks"])
    assert "--tokens" in server["command"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]


def test_the_server_is_reached_by_the_proxy_only(compose: dict[str, Any]) -> None:
    services, networks = compose["services"], compose["networks"]
    server, proxy = services["server"], services["proxy"]
    command = server["command"]

    assert "ports" not in server
    assert all(networks[name]["internal"] for name in server["networks"])
    (shared,) = set(server["networks"]) & set(proxy["networks"])
    assert [name for name, service in services.items() if shared in service["networks"]] == ["server", "proxy"]
    assert networks[shared]["ipam"]["config"] == [{"subnet": command[command.index("--proxy") + 1]}]
    assert proxy["read_only"] is True
    assert proxy["cap_drop"] == ["ALL"]


def test_what_has_to_last_is_in_volumes(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        kept = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
        assert all(volume.split(":")[0] in compose["volumes"] for volume in kept)
    assert "state:/state" in compose["services"]["server"]["volumes"]


def test_the_server_has_time_to_end(compose: dict[str, Any]) -> None:
    assert int(compose["services"]["server"]["stop_grace_period"].rstrip("s")) > 30


def test_compose_understands_it() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker with its plug-in compose is not installed")
    result = subprocess.run(
        ["docker", "compose", "--file", ROOT / "compose.yaml", "config", "--quiet"],
        env={"ARCHIVE_PASSWORD": "x", "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
