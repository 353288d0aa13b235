"""Jobs outlive their server: whatever was accepted is there after a kill, a crash of the disk, or a good end."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otherwise.images.writing import write_image
from support.app_in_process import open_app

FINAL = ("done", "failed", "cancelled", "interrupted")


@pytest.fixture
def studies(tmp_path: Path, new_plane: Any) -> Path:
    folder = tmp_path / "studies"
    write_image(new_plane(1, 0.1), folder / "dark.nrrd")
    write_image(new_plane(2, 0.7), folder / "bright.nrrd")
    return folder


@pytest.fixture
def serve(app_class: Any, studies: Path, tmp_path: Path, new_explainer: Any) -> Any:
    """Start a server on a state folder."""

    @contextmanager
    def start(**conf: str) -> Iterator[tuple[TestClient, Any]]:
        conf = {"state": str(tmp_path / "state"), "device": "cpu", **conf}
        with open_app(app_class, studies, conf, new_explainer()) as (client, app):
            yield client, app.host.explainer

    return start


def post(client: TestClient, **body: Any) -> str:
    reply = client.post("/otherwise/jobs", json={"image": "dark", **body})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def wait(client: TestClient, id: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        job: dict[str, Any] = client.get(f"/otherwise/jobs/{id}").json()
        if job["state"] in FINAL:
            return job
    raise AssertionError(f"still {job['state']}")


def keep_as_it_is(tmp_path: Path) -> None:
    """Remember the state folder as a server that is killed now would leave it."""
    shutil.copytree(tmp_path / "state", tmp_path / "killed")


def go_back(tmp_path: Path) -> None:
    """Let the server have been killed then."""
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "killed").rename(tmp_path / "state")


def test_after_a_kill_what_waited_is_done_and_what_ran_can_be_repeated(serve: Any, tmp_path: Path) -> None:
    with serve() as (client, explainer):
        done = wait(client, post(client, params={"seed": 1}))
        with explainer.held():
            ran = post(client, params={"seed": 2})
            assert explainer.entered.wait(10)
            waited = [post(client, image="bright"), post(client, kind="classify")]
            gone = post(client, params={"seed": 3})
            client.delete(f"/otherwise/jobs/{gone}")
            keep_as_it_is(tmp_path)

    go_back(tmp_path)
    with serve() as (client, explainer):
        assert client.get(f"/otherwise/jobs/{done['id']}").json() == {**done, "stage": ""}
        assert client.get(f"/otherwise/jobs/{gone}").json()["state"] == "cancelled"
        assert [wait(client, id)["state"] for id in waited] == ["done", "done"]
        assert [call["image"] for call in explainer.calls] == ["bright"]

        interrupted = client.get(f"/otherwise/jobs/{ran}").json()
        assert interrupted["state"] == interrupted["error"]["error"] == "interrupted"
        assert "repeat" in interrupted["error"]["hint"]
        repeated = client.post(f"/otherwise/jobs/{ran}/repeat")
        assert repeated.status_code == 202
        assert repeated.json()["id"] != ran
        assert wait(client, repeated.json()["id"])["state"] == "done"
        assert explainer.calls[-1]["seed"] == 2

        assert client.post("/otherwise/jobs", json={"image": "dark", "params": {"seed": 1}}).json()["cached"]
        states = {job["id"]: job["state"] for job in client.get("/otherwise/jobs").json()}
        assert set(states) >= {done["id"], ran, gone, *waited}


def test_a_server_that_stops_in_good_order_leaves_everything_to_the_next(serve: Any) -> None:
    with serve() as (client, explainer):
        explainer.go_on.clear()
        ids = [post(client, params={"seed": seed}) for seed in (1, 2)]
        assert explainer.entered.wait(10)

    with serve() as (client, _):
        assert [wait(client, id)["state"] for id in ids] == ["done", "done"]


def test_a_job_whose_session_or_image_is_gone_says_so(serve: Any, tmp_path: Path, studies: Path) -> None:
    with serve() as (client, explainer), explainer.held():
        post(client)
        assert explainer.entered.wait(10)
        upload = {"files": ("image.nrrd", (studies / "dark.nrrd").read_bytes())}
        sessions = [str(client.put("/session/", files=upload).json()["session_id"]) for _ in range(2)]
        lost, kept = (post(client, image="", session=session, params={"seed": 5}, fresh=True) for session in sessions)
        removed = post(client, image="bright")
        keep_as_it_is(tmp_path)

    go_back(tmp_path)
    shutil.rmtree(tmp_path / "state" / "sessions" / sessions[0])
    (studies / "bright.nrrd").rename(tmp_path / "elsewhere.nrrd")
    with serve() as (client, _):
        for id, word in ((lost, "session"), (removed, "bright")):
            job = wait(client, id)
            assert job["state"] == "interrupted"
            assert word in job["error"]["detail"]
            assert client.post(f"/otherwise/jobs/{id}/repeat").status_code == 404
        assert wait(client, kept)["state"] == "done"


def test_no_answer_takes_longer_than_the_server_lets_it(serve: Any) -> None:
    with serve(deadline_seconds="0.5") as (client, explainer), explainer.held():
        id = post(client, deadline_seconds=3600)
        reply = client.post("/infer/explain", params={"image": "bright"})
        assert (reply.status_code, reply.json()["error"]) == (504, "deadline")
        assert wait(client, id)["error"]["error"] == "deadline"
        assert explainer.stopped.wait(10)


def test_only_what_has_ended_is_repeated(serve: Any) -> None:
    with serve() as (client, explainer):
        with explainer.held():
            id = post(client)
            reply = client.post(f"/otherwise/jobs/{id}/repeat")
            assert (reply.status_code, reply.json()["error"]) == (409, "not-finished")
        assert wait(client, id)["state"] == "done"
        assert client.post(f"/otherwise/jobs/{id}/repeat").json()["cached"]
        assert client.post("/otherwise/jobs/nobody/repeat").status_code == 404


@pytest.mark.parametrize("damage", ["garbage", "half", "later"])
def test_a_record_that_cannot_be_read_is_set_aside_and_the_server_starts(
    serve: Any, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as (client, _):
        former = wait(client, post(client))["id"]
    record = tmp_path / "state" / "jobs.sqlite"
    if damage == "later":
        with sqlite3.connect(record) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        content = record.read_bytes()
        record.write_bytes(b"garbage " * 1000 if damage == "garbage" else content[: len(content) // 2])

    with serve() as (client, _):
        assert client.get(f"/otherwise/jobs/{former}").status_code == 404
        assert wait(client, post(client, params={"seed": 2}))["state"] == "done"
    assert len(list(record.parent.glob("jobs.sqlite.aside-*"))) == 1
    assert any("record of jobs" in message for message in caplog.messages)


def test_a_server_starts_on_a_full_disk_and_tells_what_was_interrupted(
    serve: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    with serve() as (client, explainer), explainer.held():
        ran, waited = post(client), post(client, image="bright")
        assert explainer.entered.wait(10)
        keep_as_it_is(tmp_path)
    go_back(tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("lib.jobs.store"), "update", full)
        with serve() as (client, _):
            assert wait(client, ran)["state"] == "interrupted"
            assert wait(client, waited)["state"] == "done"
    with serve() as (client, _):
        assert wait(client, ran)["state"] == "interrupted"
        assert wait(client, waited)["state"] == "done", "its end was not recorded, so it was done again"


def full(*_: Any, **__: Any) -> Any:
    """What the driver says when it writes to a full disk."""
    raise sqlite3.OperationalError("database or disk is full")


def test_a_full_disk_refuses_new_jobs_in_words_and_what_runs_goes_on(serve: Any, monkeypatch: Any) -> None:
    with serve() as (client, explainer):
        module = importlib.import_module("lib.jobs.store")
        with explainer.held():
            runs = post(client)
            assert explainer.entered.wait(10)

            with monkeypatch.context() as patch:
                patch.setattr(module, "insert", full)
                patch.setattr(module, "update", full)
                reply = client.post("/otherwise/jobs", json={"image": "bright"})
                assert (reply.status_code, reply.json()["error"]) == (507, "storage")
                explainer.go_on.set()
                assert wait(client, runs)["state"] == "done"
        assert wait(client, post(client, image="bright"))["state"] == "done", "there is room again"
