"""Real servers that other machines can reach: with tokens and a certificate, and as MONAI Label itself starts them."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.resources import app_folder
from otherwise.tokens import Role, add_token, revoke_token
from OtherwiseLib.client.client import Client
from OtherwiseLib.client.errors import ServerError
from support import forked_python
from support.certificates import make_certificate
from support.serve_process import SECONDS, serving

pytestmark = pytest.mark.long


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    write_image(next(mammograms(seed=6, count=1, settings=MammogramSettings())).image, tmp_path / "studies" / "a.nrrd")
    return tmp_path / "studies"


def test_slicers_client_and_requests_use_a_token_and_https(studies: Path, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "server")
    file = tmp_path / "tokens.txt"
    token = add_token(file, "Rea", Role.READER)
    options = ("--state", tmp_path / "state", "--tokens", file, "--certificate", certificate, "--key", key)
    with serving(tmp_path, "--studies", studies, "--host", "0.0.0.0", *options, "--device", "cpu") as server:
        assert server.url.startswith("https://")
        url = f"https://localhost:{server.url.rsplit(':', 1)[1]}"
        headers = {"Authorization": f"Bearer {token}"}
        refused = requests.get(f"{url}/info/", verify=certificate, timeout=SECONDS)
        known = requests.get(f"{url}/otherwise/about", verify=certificate, headers=headers, timeout=SECONDS).json()
        slicer = Client(url, token)
        slicer._session.verify = str(certificate)
        images = slicer.images()
        revoke_token(file, "Rea")
        with pytest.raises(ServerError) as caught:
            slicer.images()

    assert refused.status_code == 401
    assert known["caller"] == {"user": "Rea", "role": "reader"}
    assert images == ["a"]
    assert caught.value.kind == "unauthorised"


@contextmanager
def started_by_monai_label(studies: Path, folder: Path) -> Iterator[int]:
    """``monailabel start_server``, which listens everywhere unless told otherwise; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    words = ["--app", app_folder(), "--studies", studies, "--port", port, "--conf", "device", "cpu"]
    words += ["--conf", "state", folder / "state"]
    command = [sys.executable, "-m", "monailabel.main", "start_server", *map(str, words)]
    with (folder / "server.log").open("w") as log:
        process = forked_python.start(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < until:
                try:
                    requests.get(f"http://127.0.0.1:{port}/otherwise/health", timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.2)
            yield port
        finally:
            process.kill()
            process.wait(SECONDS)


def test_started_by_monai_label_it_answers_to_its_own_machine_only(studies: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but says by which of our addresses it would
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    with started_by_monai_label(studies, tmp_path) as port:
        secret = f"/token/{(tmp_path / 'state' / 'secret').read_text().strip()}"
        here = f"http://127.0.0.1:{port}"
        assert requests.get(f"{here}{secret}/info/", timeout=SECONDS).status_code == 200
        assert requests.post(f"{here}{secret}/infer/classify?image=a", timeout=SECONDS).status_code == 200
        assert requests.get(f"{here}/info/", timeout=SECONDS).status_code == 401
        elsewhere = "127.0.0.1" if address.startswith("127.") else address
        status = requests.get(f"http://{elsewhere}:{port}{secret}/info/", timeout=SECONDS).status_code

    assert status == (200 if elsewhere == "127.0.0.1" else 403)
    log = (tmp_path / "server.log").read_text()
    assert "POST /infer/{model} 200" in log
    assert "image=a" not in log
