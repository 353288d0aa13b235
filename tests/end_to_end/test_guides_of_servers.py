"""Follow the guides for administrators of servers: tokens, a certificate, and the checks of ``otherwise doctor``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support.certificates import make_certificate
from support.serve_process import SECONDS, Process, serving
from support.typed_commands import type_in, typed_command

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one image to serve."""
    monkeypatch.chdir(tmp_path)
    image = next(mammograms(seed=6, count=1, settings=MammogramSettings())).image
    write_image(image, tmp_path / "studies" / "a.nrrd")
    return tmp_path


@pytest.fixture
def served_as_told(folder: Path) -> Iterator[tuple[Process, str]]:
    """Start the server of the guide on access, with a certificate and a token; return it and the token."""
    added = type_in(typed_command("otherwise tokens add ann --role annotator", {}))
    token = next(word for word in re.findall(r"\S+", added) if len(word) > 30)
    make_certificate(folder, "server")
    words = typed_command("otherwise serve --studies DIR --host 0.0.0.0 --tokens", {"DIR": "studies"})
    with serving(folder, *words[1:], "--device", "cpu") as server:
        yield server, token


def test_access_as_the_guide_sets_it_up_is_open_to_tokens_alone_and_the_doctor_agrees(
    served_as_told: tuple[Process, str],
) -> None:
    server, token = served_as_told
    port = server.url.rsplit(":", 1)[1]
    url = f"https://localhost:{port}"
    known = requests.get(
        f"{url}/otherwise/about", verify="server.pem", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS
    )
    assert known.json()["caller"] == {"user": "ann", "role": "annotator"}
    assert requests.get(f"{url}/info/", verify="server.pem", timeout=SECONDS).status_code == 401

    meant = {"https://otherwise.example/token/TOKEN": f"{url}/token/{token}", "authority.pem": "server.pem"}
    asked = typed_command("otherwise doctor --security --address https://otherwise.example/token/TOKEN", meant)
    type_in(asked)

    here = typed_command(
        "otherwise doctor --security --port 8000", {"8000": port, "DIR-otherwise": "studies-otherwise"}
    )
    type_in([*here, "--certificate", "server.pem"])


def test_the_doctor_of_an_installation_finds_it_ready(folder: Path) -> None:
    type_in(typed_command("otherwise tokens add ann --role annotator", {}))
    own = {"--studies": "studies", "--state": "state"}
    words = typed_command("otherwise doctor --studies DIR --state DIR --tokens tokens.txt", {}, own)
    type_in(words)


@pytest.mark.parametrize("begin", ["otherwise serve --studies DIR", "otherwise serve --studies nodules/images"])
def test_a_server_of_the_first_pages_lists_its_images(begin: str, folder: Path) -> None:
    words = typed_command(begin, {"DIR": "studies", "nodules": ".", "my_classifier": "nodule_classifier"})
    (folder / "images").symlink_to(folder / "studies")
    with serving(folder, *words[1:], "--device", "cpu") as server:
        assert list(server.get("/datastore/?output=all").json()["objects"]) == ["a"]
