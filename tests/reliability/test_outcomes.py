"""What happens to a running server, and what people are told; the table is in docs/admin/reliability.md."""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from otherwise.annotations.database import DamagedDatabaseError
from otherwise.errors import OtherwiseError
from otherwise.images.writing import write_image
from otherwise.resources import app_folder
from support.fake_explainer import OBLIQUE, plane

if TYPE_CHECKING:
    from conftest import Serve

TEN_YEARS = 10 * 365 * 24 * 3600.0
SECONDS = 20.0


def start(client: TestClient, **body: Any) -> Any:
    """Ask for a job."""
    return client.post("/otherwise/jobs", json={"image": "dark", **body})


def end(client: TestClient, id: str) -> dict[str, Any]:
    """Wait for the end of a job."""
    until = time.monotonic() + SECONDS
    while (job := client.get(f"/otherwise/jobs/{id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.01)
    return dict(job)


def say(client: TestClient) -> Any:
    """Name a region."""
    corners = np.array([[1, 1, 0, 1], [5, 1, 0, 1], [5, 4, 0, 1], [1, 4, 0, 1]]) @ OBLIQUE.T
    region = {"polygon": corners[:, :3].tolist()}
    body = {"kind": "name", "image": "dark", "region": region, "term": {"meaning": "something"}}
    return client.post("/otherwise/annotations", json=body)


def annotation_ids(client: TestClient) -> list[str]:
    """Ids of all annotations."""
    return [note["id"] for note in client.get("/otherwise/annotations").json()["annotations"]]


def ready(client: TestClient) -> list[str]:
    """Why the server cannot work."""
    return list(client.get("/otherwise/health/ready").json()["reasons"])


def refusal(reply: Any) -> tuple[int, str]:
    """Status and kind of an error, which has to be in the one form and to tell what to do."""
    content = reply.json()
    assert set(content) == {"error", "detail", "hint"}
    assert content["hint"]
    return reply.status_code, content["error"]


@contextmanager
def disk(place: Path, *options: str) -> Iterator[Path]:
    """A disk of four mebibytes."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(("size=4m", *options)), "tmpfs", str(place)]
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Leave no room on a disk."""
    path = place / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def test_a_full_disk(serve: Serve, tmp_path: Path) -> None:
    with disk(tmp_path / "state") as state, serve() as (client, app):
        before = say(client).json()["annotation"]["id"]
        with app.host.explainer.held():
            runs = start(client).json()["id"]
            assert app.host.explainer.entered.wait(SECONDS)
            ballast = fill(state)
            assert refusal(start(client, image="bright")) == (507, "storage")
            assert refusal(say(client)) == (507, "storage")
        failed = end(client, runs)
        assert failed["state"] == "failed"
        assert failed["error"]["error"] in ("storage", "write")
        assert "space" in failed["error"]["hint"]
        assert ready(client) == ["The state folder takes no files."]
        assert client.post("/infer/classify", params={"image": "bright"}).status_code == 200
        assert annotation_ids(client) == [before]

        ballast.unlink()
        assert ready(client) == []
        assert end(client, start(client).json()["id"])["state"] == "done"
        after = say(client).json()["annotation"]["id"]
        assert annotation_ids(client) == [before, after]


def test_a_full_disk_of_the_studies(serve: Serve, tmp_path: Path) -> None:
    with disk(tmp_path / "planes") as studies:
        for name in ("dark", "bright"):
            write_image(plane(1, 0.5), studies / f"{name}.nrrd")
        with serve() as (client, _):

            def save(label: bytes) -> Any:
                return client.put("/datastore/label", params={"image": "dark"}, files={"label": ("l.nrrd", label)})

            def kept() -> bytes:
                return bytes(client.get("/datastore/label", params={"label": "dark", "tag": "final"}).content)

            assert save(b"finished").status_code == 200
            ballast = fill(studies)
            assert refusal(save(bytes(2**20)))[0] == 507
            assert kept() == b"finished", "the label that was acknowledged"
            new = {"params": {"image": "new"}, "files": {"file": ("n.nrrd", bytes(2**20))}}
            assert refusal(client.put("/datastore/image", **new))[0] == 507
            assert sorted(path.name for path in studies.glob("*.nrrd")) == ["bright.nrrd", "dark.nrrd"]
            ballast.unlink()
            assert save(b"corrected").status_code == 200
            assert kept() == b"corrected"


def test_a_server_that_is_started_on_a_full_disk(serve: Serve, tmp_path: Path) -> None:
    with disk(tmp_path / "state") as state:
        with serve() as (client, _):
            before = say(client).json()["annotation"]["id"]
        ballast = fill(state)
        with pytest.raises(OtherwiseError, match=r"disk") as caught, serve():
            pass
        assert "space" in caught.value.hint
        ballast.unlink()
        with serve() as (client, _):
            assert annotation_ids(client) == [before]


def test_a_read_only_state_folder(serve: Serve, tmp_path: Path) -> None:
    with disk(tmp_path / "state") as state:
        with serve() as (client, _):
            assert annotation_ids(client) == []
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        with pytest.raises(OtherwiseError, match=r"cannot be (written|made)") as caught, serve():
            pass
        assert caught.value.hint
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
def test_a_clock_that_jumps(serve: Serve, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    real = time.time
    with serve(deadline_seconds="60") as (client, app):
        with app.host.explainer.held():
            runs = start(client).json()["id"]
            waits = start(client, image="bright").json()["id"]
            assert app.host.explainer.entered.wait(SECONDS)
            monkeypatch.setattr(time, "time", lambda: real() + jump)
            assert client.get("/otherwise/jobs").status_code == 200
        assert {end(client, id)["state"] for id in (runs, waits)} == {"done"}
        assert app.jobs.figures()["deadline"] == 0
        id = say(client).json()["annotation"]["id"]
        assert annotation_ids(client) == [id]
        assert ready(client) == []


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
def test_a_clock_that_jumps_locks_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """A client that has used up its rate may ask again as soon as it would have without the jump."""
    real = time.time
    with serve(rate="2") as (client, _):
        while client.get("/otherwise/about").status_code != 429:
            pass
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        until = time.monotonic() + SECONDS
        while (status := client.get("/otherwise/jobs").status_code) == 429 and time.monotonic() < until:
            pass
        assert status == 200


@pytest.mark.parametrize(
    "words",
    ["CUDA error: an illegal memory access was encountered", "CUDA failure 719: unspecified launch failure ; GPU=0"],
)
def test_a_gpu_that_fails(serve: Serve, words: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as (client, app):
        explainer = app.host.explainer
        known = end(client, start(client).json()["id"])["result"]["id"]
        with explainer.failing(RuntimeError(words)):
            failed = end(client, start(client, image="bright").json()["id"])
        assert failed["error"]["error"] == "device"
        assert "anew" in failed["error"]["hint"]
        assert words not in json.dumps(failed)
        assert any("failed" in record.message for record in caplog.records if record.levelno == logging.ERROR)

        calls = len(explainer.calls)
        assert refusal(client.post("/infer/classify", params={"image": "bright"})) == (503, "device")
        assert len(explainer.calls) == calls, "a GPU that is lost is asked nothing more"
        assert ready(client) == ["The GPU has failed; start the server anew."]
        assert client.get("/otherwise/health/live").status_code == 503, "whoever watches starts it anew"
        assert client.get(f"/otherwise/explanations/{known}").status_code == 200
        assert say(client).status_code == 201


def test_what_is_wrong_with_one_image_is_not_wrong_with_the_gpu(serve: Serve) -> None:
    with serve() as (client, app):
        with app.host.explainer.failing(RuntimeError("shapes do not match")):
            assert end(client, start(client).json()["id"])["error"]["error"] == "internal"
        assert ready(client) == []
        assert end(client, start(client, image="bright").json()["id"])["state"] == "done"


def test_a_damaged_database_of_annotations(serve: Serve, tmp_path: Path) -> None:
    with serve() as (client, _):
        id = say(client).json()["annotation"]["id"]
    path = tmp_path / "state" / "annotations.sqlite"
    sound = path.read_bytes()
    path.write_bytes(sound[:4096] + b"garbage " * 512 + sound[8192:])

    with pytest.raises(DamagedDatabaseError, match="a copy is") as caught, serve():
        pass
    assert "otherwise annotations import" in caught.value.hint
    path.write_bytes(sound)
    with serve() as (client, _):
        assert annotation_ids(client) == [id]


@pytest.mark.parametrize("name", ["active.json", "*/record.json"])
@pytest.mark.parametrize("content", [b"\xff{", b"[]"])
def test_a_damaged_registry_of_models(serve: Serve, tmp_path: Path, name: str, content: bytes) -> None:
    with serve():
        pass
    (file,) = (tmp_path / "state" / "models").glob(name)
    file.write_bytes(content)
    with serve() as (client, _):
        assert end(client, start(client).json()["id"])["state"] == "done"
        reply = client.get("/otherwise/models")
        assert reply.status_code < 500
        error = reply.json()
        assert "damaged" in str(error.get("problem", error.get("detail")))


def test_a_damaged_explanation_hides_no_other(serve: Serve, tmp_path: Path) -> None:
    with serve() as (client, _):
        ids = [end(client, start(client, image=image).json()["id"])["result"]["id"] for image in ("dark", "bright")]
    harmed, sound = ids
    (tmp_path / "state" / "explanations" / harmed / "explanation.json").write_bytes(b'{"id": ')
    with serve() as (client, _):
        assert client.get(f"/otherwise/explanations/{sound}").status_code == 200
        assert refusal(client.get(f"/otherwise/explanations/{harmed}")) == (404, "damaged")
        assert client.get(f"/otherwise/explanations/{harmed}/report.pdf").status_code < 500
        assert client.get("/otherwise/concepts").status_code == 200
        assert end(client, start(client).json()["id"])["result"]["id"] != harmed, "it is made again"


def test_a_state_folder_that_is_removed(serve: Serve, tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    with serve() as (client, _):
        before = say(client).json()["annotation"]["id"]
        job = end(client, start(client).json()["id"])["id"]
        state.rename(elsewhere)
        for _ in range(2):  # the second time something may have been made anew
            assert refusal(start(client, image="bright")) == (507, "storage"), (
                "nothing is acknowledged that is not kept"
            )
            assert refusal(say(client)) == (507, "storage")
            assert "The database does not answer." in ready(client)
        assert client.post("/infer/classify", params={"image": "bright"}).status_code == 200

        shutil.rmtree(state, ignore_errors=True)
        elsewhere.rename(state)
        assert ready(client) == []
        assert end(client, start(client, image="bright").json()["id"])["state"] == "done"
        assert annotation_ids(client) == [before]
        assert client.get(f"/otherwise/jobs/{job}").json()["state"] == "done"


HOLD = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from lib.storage.state_lock import lock_state_folder
hold = lock_state_folder(Path(sys.argv[2]))
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_second_server_with_the_same_state_folder(serve: Serve, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(app_folder()), str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(OtherwiseError, match="Another server keeps its state") as caught, serve():
            pass
        assert caught.value.code == "in-use"
        other.kill()
        other.wait()
    with serve() as (client, _):
        assert ready(client) == [], "a killed server lets go by itself"
        refused = subprocess.run(command, input="", capture_output=True, text=True)
        assert "InUseError" in refused.stderr
    assert subprocess.run(command, input="", capture_output=True, text=True).stdout == "mine\n"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    door = importlib.import_module("otherwise.cli.options.network")
    with door.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OtherwiseError, match=str(port)) as caught:
            door.listen("127.0.0.1", port).close()
    assert "--port" in caught.value.hint
