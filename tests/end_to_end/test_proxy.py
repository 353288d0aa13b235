"""The proxy that we ship, as real nginx, before a real server; and the proxy that people write first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from otherwise.cli import build, run
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.tokens import Role, add_token
from OtherwiseLib.client.client import Client
from support import nginx
from support.certificates import make_certificate
from support.serve_process import SECONDS, Process, serving

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not nginx.is_installed(), reason="nginx is not installed (apt-get install nginx-light)"),
]


@dataclass(frozen=True)
class Proxied:
    """A server behind the proxy that we ship, with the token of an annotator."""

    url: str
    plain: str
    authority: Path
    token: str
    server: Process

    def ask(self, method: str, address: str, **more: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(
            method, self.url + address, headers=headers, verify=self.authority, timeout=SECONDS, **more
        )  # type: ignore[arg-type]


@contextmanager
def studies(folder: Path) -> Iterator[Path]:
    image = next(mammograms(seed=6, count=1, settings=MammogramSettings())).image
    write_image(image, folder / "studies" / "a.nrrd")
    yield folder / "studies"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    pair, file = make_certificate(folder, "proxy", days=90), folder / "tokens.txt"
    token = add_token(file, "Ann", Role.ANNOTATOR)
    options = (
        "--state",
        folder / "state",
        "--tokens",
        file,
        "--proxy",
        "127.0.0.1",
        "--device",
        "cpu",
        "--log",
        "json",
    )
    with (
        studies(folder) as images,
        serving(folder, "--studies", images, *options) as server,
        nginx.shipped(urlsplit(server.url).port or 0, pair, folder) as (url, plain),
    ):
        yield Proxied(url, plain, pair[0], token, server)


def test_the_doctor_finds_nothing_wrong(proxied: Proxied, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--address", f"{proxied.url}/token/{proxied.token}", "--certificate", str(proxied.authority), "--json"]

    assert run(build, ["doctor", "--security", *words]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}

    assert {each["state"] for each in found.values()} == {"ok"}
    assert "nginx is before it" in found["proxy"]["what"]


def test_plain_http_is_sent_to_https(proxied: Proxied) -> None:
    reply = requests.get(f"{proxied.plain}/info/", allow_redirects=False, timeout=SECONDS)

    assert (reply.status_code, urlsplit(reply.headers["Location"]).scheme) == (301, "https")


def test_progress_arrives_while_the_job_runs(proxied: Proxied) -> None:
    id = proxied.ask("POST", "/otherwise/jobs", json={"kind": "explain", "image": "a"}).json()["id"]
    states = []
    with proxied.ask("GET", f"/otherwise/jobs/{id}/events", stream=True) as stream:
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"event: ") and line[7:] not in states:
                states.append(line[7:])
                if len(states) == 1:
                    # The proxy has passed on the first event; without that it would come with the last.
                    now = proxied.ask("GET", f"/otherwise/jobs/{id}").json()["state"]
                    assert now in ("queued", "running")

    assert states[-1] == b"done"


def test_a_large_upload_and_its_explanation_pass(proxied: Proxied, tmp_path: Path) -> None:
    image = next(mammograms(seed=7, count=1, settings=MammogramSettings())).image
    file = write_image(image, tmp_path / "b.nrrd")
    content = file.read_bytes() + bytes(40 * 2**20)  # NRRD lets more follow its voxels
    reply = proxied.ask("PUT", "/session/", files={"files": ("b.nrrd", content)})

    assert reply.status_code == 200, reply.text
    assert proxied.ask("POST", "/infer/classify", params={"session_id": reply.json()["session_id"]}).status_code == 200


def test_slicers_client_works_through_it(proxied: Proxied) -> None:
    slicer = Client(proxied.url, proxied.token)
    slicer._session.verify = str(proxied.authority)

    assert "a" in slicer.images()


def test_the_log_names_the_client_and_not_what_it_says_of_itself(proxied: Proxied) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    refused = requests.get(f"{proxied.url}/info/", headers=headers, verify=proxied.authority, timeout=SECONDS)
    log = proxied.server.log.read_text()

    assert refused.status_code == 401
    assert "203.0.113.9" not in log
    assert "127.0.0.1" in log


def test_many_connections_of_the_proxy_are_many_people(proxied: Proxied) -> None:
    """More than one address may have at the server itself; the proxy has its own limit for each client."""
    sessions = [requests.Session() for _ in range(140)]
    replies = []
    for session in sessions:
        headers = {"X-Forwarded-For": "203.0.113.9", "Connection": "keep-alive"}
        replies.append(session.get(f"{proxied.server.url}/otherwise/health/live", headers=headers, timeout=SECONDS))
    for session in sessions:
        session.close()

    assert {reply.status_code for reply in replies} == {200}


def test_a_bare_proxy_does_not_open_a_server_without_tokens(tmp_path: Path) -> None:
    with (
        studies(tmp_path) as images,
        serving(tmp_path, "--studies", images, "--state", tmp_path / "state", "--device", "cpu") as server,
        nginx.bare(urlsplit(server.url).port or 0, tmp_path) as url,
    ):
        secret = urlsplit(server.url).path
        assert server.get("/info/").status_code == 200
        for address in ("/info/", "/docs", "/otherwise/about", "/datastore/", "/otherwise/jobs"):
            assert requests.get(url + address, timeout=SECONDS).status_code == 401, address
        assert run(build, ["doctor", "--security", "--address", url]) == 0
        assert secret.removeprefix("/token/") not in server.log.read_text()
