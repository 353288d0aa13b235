"""The client against a real server, and against servers that are slow, dead, somebody else's, or lie."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from OtherwiseLib.client.address import complete_address, is_loopback
from OtherwiseLib.client.client import Client
from OtherwiseLib.client.endings import IMAGE_ENDINGS, ending_of
from OtherwiseLib.client.errors import ServerError

if TYPE_CHECKING:
    from conftest import BadServer, Served, Visit

ABOUT = {
    "versions": {"otherwise": "0.1.0"},
    "classifiers": [{"name": "c", "version": "1", "classes": ["a", "b"], "inputs": {"spatial_dims": 2}}],
    "agents": [{"name": "agent", "version": "2"}],
}


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" http://gpu.example.org:8000/ ", "http://gpu.example.org:8000"),
        ("https://example.org/monai", "https://example.org/monai"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("localhost", "http://localhost"),
    ],
)
def test_what_people_type_becomes_an_address(typed: str, address: str) -> None:
    assert complete_address(typed) == address


@pytest.mark.parametrize(
    "typed", ["", "http://", "ftp://a", "a b", "host:port", "host:99999", "user:secret@host", "h?x=1", "[::1"]
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(ServerError) as caught:
        complete_address(typed)
    assert caught.value.kind == "address"


def test_only_this_machine_is_loopback() -> None:
    assert all(is_loopback(f"http://{host}:1") for host in ("127.0.0.1", "127.4.5.6", "localhost", "[::1]"))
    hosts = ("127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "128.0.0.1", "example.org")
    assert not any(is_loopback(f"http://{host}:1") for host in hosts)


def test_a_real_server_says_what_it_hosts_and_lists_its_images(served: Served) -> None:
    client = Client(served.url)
    about = client.about()
    assert about["classifiers"][0]["classes"] == ["benign", "malignant"]
    assert "oblique" in client.images()


def test_an_image_of_the_studies_comes_down_as_it_is(served: Served, tmp_path: Path) -> None:
    path = Client(served.url).image("oblique", tmp_path / "oblique")
    assert path.name == "oblique.nrrd"
    assert path.read_bytes() == (served.studies / "oblique.nrrd").read_bytes()
    with pytest.raises(ServerError) as caught:
        Client(served.url).image("nobody", tmp_path / "nobody")
    assert caught.value.kind == "refused"


def test_this_room_and_the_server_know_the_same_image_files() -> None:
    from otherwise.images.formats.registry import ENDINGS

    assert set(IMAGE_ENDINGS) == set(ENDINGS)
    for ending in ENDINGS:
        assert ending_of(f"Patient Name{ending.upper()}") == ending
    assert ending_of("report.html") == ""


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServerError) as caught:
        Client(f"127.0.0.1:{port}").about()
    assert caught.value.kind == "unreachable"


def test_a_server_that_says_nothing_is_not_waited_for(bad_server: BadServer) -> None:
    bad_server.on("/", lambda visit: bad_server.leave.wait(10))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url, timeout=(1, 0.3)).about()
    assert caught.value.kind == "unreachable"
    assert "in time" in caught.value.detail


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "unauthorised"), (403, "unauthorised"), (429, "busy"), (503, "busy"), (500, "not-monailabel")],
)
def test_each_kind_of_refusal_is_told_apart(bad_server: BadServer, status: int, kind: str) -> None:
    bad_server.on("/", lambda visit: visit.send(status, b"<html>no</html>"))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).about()
    assert caught.value.kind == kind


def test_another_app_and_another_thing_altogether_are_told_apart(bad_server: BadServer) -> None:
    bad_server.on("/info/", lambda visit: visit.json({"name": "Radiology", "models": {}}))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).about()
    assert caught.value.kind == "not-otherwise"
    assert "Radiology" in caught.value.detail
    bad_server.on("/", lambda visit: visit.send(200, b"<html>a web site</html>"))
    bad_server.answers.pop("/info/")
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).about()
    assert caught.value.kind == "not-monailabel"


def test_an_old_server_is_told(bad_server: BadServer) -> None:
    old = {**ABOUT, "versions": {"otherwise": "0.0.9"}}
    bad_server.on("/otherwise/about", lambda visit: visit.json(old))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).about()
    assert caught.value.kind == "too-old"
    assert "0.0.9" in caught.value.detail


def test_user_and_password_become_a_token(bad_server: BadServer) -> None:
    def token(visit: Visit) -> None:
        good = b"username=ann" in visit.body and b"password=pass" in visit.body
        visit.json({"access_token": "t0ken"}) if good else visit.send(401, b"")

    def about(visit: Visit) -> None:
        good = visit.handler.headers.get("Authorization") == "Bearer t0ken"
        visit.json(ABOUT) if good else visit.send(401, b"")

    bad_server.on("/auth/token", token)
    bad_server.on("/otherwise/about", about)
    client = Client(bad_server.url)
    with pytest.raises(ServerError, match="needs a login"):
        client.about()
    with pytest.raises(ServerError, match="needs a login"):
        client.log_in("ann", "wrong")
    client.log_in("ann", "pass")
    assert client.about()["agents"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"id": 3, "state": "done"}',
        b'{"id": "x", "state": "dancing"}',
        b'{"id": "x", "state": "done"}',
    ],
)
def test_a_job_that_makes_no_sense_is_an_error_in_words(bad_server: BadServer, body: bytes) -> None:
    bad_server.on("/otherwise/jobs", lambda visit: visit.send(200, body))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).job("x")
    assert caught.value.kind == "broken"


def explanation(**files: object) -> dict[str, object]:
    return {"id": "one", "files": {"original": "original.nrrd", **files}}


@pytest.mark.parametrize(
    "content",
    [
        explanation(effect="../../evil.nrrd"),
        explanation(effect="/etc/passwd"),
        explanation(effect=".hidden"),
        explanation(effect=7),
        {"id": "another", "files": {"original": "original.nrrd"}},
        {"id": "one", "files": []},
        {"id": "one"},
    ],
)
def test_an_explanation_that_lies_leaves_nothing(bad_server: BadServer, content: object, tmp_path: Path) -> None:
    bad_server.on("/otherwise/explanations/one", lambda visit: visit.json(content))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).download("one", tmp_path / "down")
    assert caught.value.kind == "broken"
    assert not list(tmp_path.rglob("*.nrrd"))


def test_a_truncated_file_is_noticed_and_nothing_is_left(bad_server: BadServer, tmp_path: Path) -> None:
    bad_server.on("/otherwise/explanations/one", lambda visit: visit.json(explanation(effect="effect.nrrd")))
    bad_server.on("/otherwise/explanations/one/files/original.nrrd", lambda visit: visit.send(200, b"NRRD0005"))
    bad_server.on("/otherwise/explanations/one/files/effect.nrrd", lambda visit: visit.send(200, b"NRRD", length=4000))
    with pytest.raises(ServerError) as caught:
        Client(bad_server.url).download("one", tmp_path)
    assert caught.value.kind == "broken"
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_file_stays_here(bad_server: BadServer, tmp_path: Path) -> None:
    bodies: list[bytes] = []

    def take(visit: Visit) -> None:
        bodies.append(visit.body)
        visit.json({"session_id": "s"})

    bad_server.on("/session/", take)
    path = tmp_path / "Doe^John 1950.nii.gz"
    path.write_bytes(b"voxels")
    assert Client(bad_server.url).upload(path) == "s"
    assert b"voxels" in bodies[0]
    assert b"Doe" not in bodies[0]
    assert b'filename="image.nii.gz"' in bodies[0]


def test_options_travel_as_they_are(bad_server: BadServer) -> None:
    bodies: list[bytes] = []

    def take(visit: Visit) -> None:
        bodies.append(visit.body)
        visit.json({"id": "j", "state": "queued"}, 202)

    bad_server.on("/otherwise/jobs", take)
    job = Client(bad_server.url).start("explain", image="a", params={"target": "b"})
    assert json.loads(bodies[0]) == {"kind": "explain", "image": "a", "session": "", "params": {"target": "b"}}
    assert job["fraction"] == 0.0
