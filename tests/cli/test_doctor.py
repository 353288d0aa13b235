"""``otherwise doctor``: one finding each, and what to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from otherwise.annotations.store import AnnotationStore
from otherwise.cli import build, run
from otherwise.cli.doctor import checks
from otherwise.tokens import Role, add_token
from support.certificates import make_certificate


@contextmanager
def archive(status: int) -> Iterator[str]:
    """A DICOMweb server that answers any search with one status."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path.startswith("/dicom-web/studies?limit=1") else 404)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (204, "ok"), (401, "fail"), (404, "fail"), (500, "fail")])
def test_an_archive_is_asked(status: int, state: str) -> None:
    with archive(status) as address:
        assert checks.studies(address).state == state


def test_an_archive_that_is_away(tmp_path: Path) -> None:
    with archive(200) as address:
        pass

    found = checks.studies(address)

    assert found.state == "fail"
    assert found.hint


def test_folders_of_studies(tmp_path: Path) -> None:
    assert checks.studies(str(tmp_path / "nothing")).state == "fail"
    assert checks.studies(str(tmp_path)).state == "warn"
    (tmp_path / "image.nrrd").touch()
    assert checks.studies(str(tmp_path)).state == "ok"


def test_versions_that_do_not_work_together_are_told() -> None:
    assert checks.packages().state == "ok"
    found = checks.packages(["numpy<1", "no-such-package-at-all", "torch", "nothing; python_version < '3'"])
    assert found.state == "fail"
    assert "numpy" in found.what
    assert "no-such-package-at-all" in found.what
    assert "torch" not in found.what


def test_other_versions_than_those_tested_are_told(tmp_path: Path) -> None:
    file = tmp_path / "constraints.txt"
    file.write_text(f"# tested\nnumpy=={version('numpy')}\nno-such-package-at-all==1\n")
    assert checks.pins(file).state == "ok"
    file.write_text("numpy==0.1\n")
    found = checks.pins(file)
    assert (found.state, f"numpy {version('numpy')}" in found.what) == ("warn", True)


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = checks.examine("port", lambda: checks.port("127.0.0.1", door.getsockname()[1]))
    assert (taken.state, taken.name) == ("fail", "port")
    assert checks.port("127.0.0.1", 0).state == "ok"


def test_room_for_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LITTLE_ROOM", 0)
    monkeypatch.setattr(checks, "NO_ROOM", 0)
    assert checks.room(tmp_path / "not" / "there" / "yet").state == "ok"
    assert list(tmp_path.iterdir()) == [], "a doctor changes nothing"
    monkeypatch.setattr(checks, "LITTLE_ROOM", 2**60)
    assert checks.room(tmp_path).state == "warn"
    monkeypatch.setattr(checks, "NO_ROOM", 2**60)
    assert checks.room(tmp_path).state == "fail"


def test_databases(tmp_path: Path) -> None:
    file = tmp_path / "annotations.sqlite"
    assert checks.database(str(file)).what == "made at the first start"
    assert not file.exists()
    AnnotationStore(file).close()
    assert checks.database(str(file)).what == "0 annotations"
    (tmp_path / "damaged").write_bytes(b"no database" * 100)
    assert checks.examine("database", lambda: checks.database(str(tmp_path / "damaged"))).state == "fail"


def test_tokens_without_an_administrator(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    add_token(file, "Ann", Role.ANNOTATOR)
    assert checks.tokens(file).state == "warn"
    add_token(file, "Ada", Role.ADMIN)
    assert checks.tokens(file).what == "1 admin, 1 annotator, 0 reader"


@pytest.mark.parametrize(("later", "state"), [(0, "ok"), (30, "warn"), (41, "fail")])
def test_certificates_end(tmp_path: Path, later: int, state: str) -> None:
    pair = make_certificate(tmp_path, "a", days=40)

    assert checks.certificate(*pair, datetime.now(UTC) + timedelta(days=later)).state == state


def test_a_device_that_is_not_there() -> None:
    assert checks.device("cpu").state in ("ok", "warn")
    assert checks.examine("device", lambda: checks.device("cuda:99")).state == "fail"


def test_a_check_that_breaks_is_a_finding() -> None:
    found = checks.examine("x", lambda: 1 / 0)  # type: ignore[arg-type, return-value]

    assert (found.state, found.name) == ("fail", "x")


def test_the_command_says_all_and_its_exit_code_whether_it_would_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "image.nrrd").touch()
    words = ["doctor", "--studies", str(tmp_path / "studies"), "--port", "0", "--json"]

    code = run(build, words)
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(found) == {"python", "packages", "device", "models", "port", "studies", "state", "database"}
    assert code == int(any(each["state"] == "fail" for each in found.values()))
    assert found["models"]["state"] == "ok"

    assert run(build, [*words[:-1], "--tokens", str(tmp_path / "nothing")]) == 1
    printed = capsys.readouterr().out
    assert "tokens" in printed
    assert "fail" in printed
