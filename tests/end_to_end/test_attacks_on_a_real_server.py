"""Attacks that once succeeded, one after the other, against ``otherwise serve`` in a process of its own over HTTP.

Attacks by a proxy are in ``test_proxy.py``, failures of disks and devices in ``tests/reliability/test_outcomes.py``.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.tokens import Role, add_token, revoke_token
from reliability.hostile import bomb
from support.fake_realm import KEYS, FakeRealm, signed
from support.serve_process import SECONDS, Process, serving

pytestmark = pytest.mark.slow

PEOPLE = {"Rea": Role.READER, "Eve": Role.READER, "Ann": Role.ANNOTATOR, "Ben": Role.ANNOTATOR, "Ada": Role.ADMIN}
MIB = 2**20
READING_MIB = 500


@dataclass(frozen=True)
class People:
    """A server and the people who use it."""

    server: Process
    tokens: dict[str, str]
    token_file: Path
    image: Path

    def ask(self, name: str, method: str, address: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        return requests.request(method, self.server.url + address, headers=headers, timeout=SECONDS, **more)

    def explained(self, name: str, **body: Any) -> str:
        """Start an explanation, wait for it and return its id."""
        job = self.ask(name, "POST", "/otherwise/jobs", json={"kind": "explain", **body}).json()
        end = time.monotonic() + 10 * SECONDS
        while job["state"] in ("queued", "running"):
            assert time.monotonic() < end
            time.sleep(0.5)
            job = self.ask(name, "GET", f"/otherwise/jobs/{job['id']}").json()
        assert job["state"] == "done", job["error"]
        return str(job["result"]["id"])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    root = tmp_path_factory.mktemp("attacked")
    for number, phantom in enumerate(mammograms(seed=27, count=3, settings=MammogramSettings())):
        write_image(phantom.image, root / ("studies" if number else "theirs") / f"{number}.nrrd")
    file = root / "tokens.txt"
    tokens = {name: add_token(file, name, role) for name, role in PEOPLE.items()}
    options = ("--state", root / "state", "--tokens", file, "--limit", f"reading_mib={READING_MIB}", "--device", "cpu")
    with serving(root, "--studies", root / "studies", *options) as server:
        yield People(server, tokens, file, root / "theirs" / "0.nrrd")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs limits of other processes")
def test_bombs_do_not_end_a_server_with_little_memory(people: People) -> None:
    process = psutil.Process(people.server.process.pid)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + 3 * 2**30,) * 2)
    small, huge = bomb((512, 512, 512)), bomb((32767, 32767, 32767), voxels=0)
    assert max(len(small), len(huge)) < MIB

    def send(content: bytes) -> int:
        return people.ask("Rea", "POST", "/infer/classify", files={"file": ("a.nii.gz", content)}).status_code

    assert send(huge) == 422
    before = process.memory_info().rss
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(send, [small] * 8)) <= {422, 429}
    assert process.memory_info().rss - before < 200 * MIB
    assert people.ask("Rea", "GET", "/otherwise/health/ready").status_code == 200


def test_uploads_stay_their_owners(people: People) -> None:
    files = {"files": ("Miller^Anna.nrrd", people.image.read_bytes())}
    session = people.ask("Ann", "PUT", "/session/", files=files).json()["session_id"]
    assert uuid.UUID(session).version == 4
    id = people.explained("Ann", session=session)
    body = {"kind": "name", "explanation": id, "region": {"label": 1}, "term": {"meaning": "burned-in letter"}}
    if people.ask("Ann", "GET", f"/otherwise/explanations/{id}").json()["regions"]:
        assert people.ask("Ann", "POST", "/otherwise/annotations", json=body).status_code == 201
    for name, status in (("Rea", 404), ("Ben", 404), ("Ann", 200), ("Ada", 200)):
        for address in ("", "/files/original.nrrd", "/report.html"):
            assert people.ask(name, "GET", f"/otherwise/explanations/{id}{address}").status_code == status, name
        assert people.ask(name, "GET", f"/session/{session}").status_code == status, name
    for address in ("/otherwise/annotations", "/otherwise/concepts", "/otherwise/concepts/questions?count=100"):
        reply = people.ask("Rea", "GET", address)
        assert id not in reply.text, address
        assert session not in reply.text, address
    assert id not in people.ask("Rea", "GET", "/otherwise/jobs").text


def test_sixty_queries_beside_an_explanation_keep_nobody_out(people: People) -> None:
    region = {"polygon": [[0, 0, 0], [40, 0, 0], [0, 40, 0]]}

    def query(_: int) -> int:
        body = {"image": "1", "region": region}
        return people.ask("Rea", "POST", "/otherwise/concepts/query", json=body).status_code

    with ThreadPoolExecutor(61) as pool:
        explained = pool.submit(people.explained, "Ann", image="1", fresh=True)
        queries = [pool.submit(query, number) for number in range(60)]
        for address in ("/info/", "/otherwise/health/ready", "/otherwise/health/live"):
            assert people.ask("Ben", "GET", address).status_code == 200, address
        assert {each.result() for each in queries} <= {200, 422, 429, 503}
        assert explained.result()


def test_bodies_that_take_long_to_parse_are_refused(people: People) -> None:
    headers = {"Authorization": f"Bearer {people.tokens['Rea']}", "Content-Type": "application/json"}
    large = b'{"kind": "' + b"x" * (28 * MIB) + b'"}'
    many = b"{" + b", ".join(b'"%d": 1' % number for number in range(100_000)) + b"}"
    for body in (large, many):
        try:
            reply = requests.post(f"{people.server.url}/otherwise/jobs", data=body, headers=headers, timeout=SECONDS)
        except requests.ConnectionError:
            continue  # it is closed while the body is still being sent
        assert reply.status_code == 413
        assert len(reply.content) < 2000


def test_streams_are_few_and_end_with_the_right_to_listen(people: People) -> None:
    headers = {"Authorization": f"Bearer {people.tokens['Eve']}"}
    url = f"{people.server.url}/otherwise/jobs/events"
    opened = []
    while (reply := requests.get(url, headers=headers, stream=True, timeout=SECONDS)).ok:
        opened.append(reply)
        assert len(opened) < 60
    assert reply.status_code == 429
    revoke_token(people.token_file, "Eve")
    for stream in opened:
        for _ in stream.iter_content(1):  # until the server ends it, after at most a heartbeat
            pass
    assert people.ask("Eve", "GET", "/info/").status_code == 401
    log = people.server.log.read_text(encoding="utf-8")
    assert any(" 401 " in line and "from 127.0.0.1" in line for line in log.splitlines())


def test_pages_run_nothing_and_hints_speak_of_no_command_line(people: People) -> None:
    for address in ("/", "/docs"):
        reply = people.ask("Rea", "GET", address)
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "<script" not in reply.text
    origin = {"Origin": "https://another.example", "Authorization": f"Bearer {people.tokens['Rea']}"}
    refused = requests.get(f"{people.server.url}/info/", headers=origin, timeout=SECONDS)
    assert refused.status_code == 403
    assert "--" not in refused.json()["hint"]


def test_labels_stay_their_authors_and_deleted_ones_are_not_counted(people: People) -> None:
    label = {"label": ("a.nrrd", people.image.read_bytes())}

    def save(name: str) -> int:
        return people.ask(name, "PUT", "/datastore/label", params={"image": "2"}, files=label).status_code

    assert [save("Ann"), save("Ben"), save("Ann")] == [200, 403, 200]
    assert people.ask("Rea", "GET", "/datastore/").json()["completed"] == 1
    assert people.ask("Ada", "DELETE", "/datastore/label", params={"id": "2", "tag": "final"}).status_code == 200
    assert people.ask("Rea", "GET", "/datastore/").json()["completed"] == 0


def test_a_realm_may_rotate_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(next(mammograms(seed=6, count=1, settings=MammogramSettings())).image, tmp_path / "studies" / "a.nrrd")
    realm = FakeRealm()
    realm.keys = {"first": KEYS["first"]}
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    monkeypatch.setenv("MONAI_LABEL_AUTH_REALM_URI", realm.url)
    with serving(tmp_path, "--studies", tmp_path / "studies", "--state", tmp_path / "s", "--device", "cpu") as server:

        def ask(token: str) -> int:
            return server.get("/otherwise/about", headers={"Authorization": f"Bearer {token}"}).status_code

        until = time.time() + 3600
        assert ask(signed(realm, exp=until)) == 200
        strangers = ({"aud": "another", "azp": "another"}, {"iss": "http://another.example"}, {"typ": "Refresh"})
        for changed in strangers:
            assert ask(signed(realm, exp=until, **changed)) == 401, changed
        assert server.get("/otherwise/about").status_code == 401
        realm.keys = {"second": KEYS["second"]}
        end = time.monotonic() + SECONDS
        while ask(signed(realm, KEYS["second"], "second", exp=until)) != 200:
            assert time.monotonic() < end, "the new key counts ten seconds after the last look at the latest"
            time.sleep(1)
        assert ask(signed(realm, exp=until)) == 401, "and the old one does not count any more"
