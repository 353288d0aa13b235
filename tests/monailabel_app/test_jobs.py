"""Jobs: started, watched, fetched and cancelled by their id, while the server goes on answering."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import requests

from otherwise.errors import ClassifierError

FINAL = ("done", "failed", "cancelled")


def post(running: Any, **body: Any) -> requests.Response:
    return requests.post(f"{running.url}/otherwise/jobs", json=body, timeout=20)


def wait(running: Any, id: str, states: tuple[str, ...] = FINAL) -> dict[str, Any]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        job: dict[str, Any] = running.get(f"/otherwise/jobs/{id}").json()
        if job["state"] in states:
            return job
    raise AssertionError(f"still {job['state']}")


def test_a_job_is_queued_runs_and_leaves_its_explanation(running: Any) -> None:
    with running.explainer.held():
        reply = post(running, image="dark", params={"seed": 3})
        assert reply.status_code == 202
        id = reply.json()["id"]
        assert running.explainer.entered.wait(10)
        second = post(running, image="bright one").json()
        assert second["state"] == "queued"
        job = running.get(f"/otherwise/jobs/{id}").json()
        assert (job["state"], job["stage"], job["fraction"]) == ("running", "search", 0.5)
        assert job["seconds_left"] >= 0
        assert job["result"] is None
    job = wait(running, id)
    assert (job["state"], job["fraction"], job["error"]) == ("done", 1.0, None)
    assert running.explainer.calls[-1]["image"] in ("dark", "bright one")
    explanation = running.get(f"/otherwise/explanations/{job['result']['id']}")
    assert explanation.json()["image"]["id"] == "dark"
    wait(running, second["id"])
    listed = [other["id"] for other in running.get("/otherwise/jobs").json()]
    assert listed.index(second["id"]) < listed.index(id), "the newest first"


@pytest.mark.timing
def test_cancelling_takes_effect_within_a_second(running: Any) -> None:
    with running.explainer.held():
        ids = [post(running, image="dark").json()["id"] for _ in range(2)]
        assert running.explainer.entered.wait(10)
        begun = time.monotonic()
        for id in reversed(ids):
            assert requests.delete(f"{running.url}/otherwise/jobs/{id}", timeout=20).status_code == 202
        assert [wait(running, id)["state"] for id in ids] == ["cancelled", "cancelled"]
        assert time.monotonic() - begun < 1
        assert running.explainer.stopped.is_set()


def test_a_failed_job_says_why(running: Any) -> None:
    with running.explainer.failing(ClassifierError("It answered NaN.", "Check it.")):
        job = wait(running, post(running, image="dark", kind="classify").json()["id"])
    assert job["state"] == "failed"
    assert job["error"] == {"error": ClassifierError.code, "detail": "It answered NaN.", "hint": "Check it."}
    with running.explainer.failing(RuntimeError("/secret/path")):
        job = wait(running, post(running, image="dark").json()["id"])
    assert job["error"]["error"] == "internal"
    assert "secret" not in json.dumps(job)


def test_events_tell_the_course_and_end(running: Any) -> None:
    with running.explainer.held():
        id = post(running, image="dark").json()["id"]
        assert running.explainer.entered.wait(10)
        stream = requests.get(f"{running.url}/otherwise/jobs/{id}/events", stream=True, timeout=20)
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines(decode_unicode=True)
        assert next(lines) == "event: running"
    rest = list(lines)
    assert [line for line in rest if line.startswith("event: ")][-1] == "event: done"
    events = [json.loads(line.removeprefix("data: ")) for line in rest if line.startswith("data: ")]
    assert events[-1]["result"]["id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"image": "nobody"}, 404),
        ({"session": "../../etc/passwd"}, 404),
        ({"image": "dark", "kind": "train"}, 422),
        ({"image": "dark", "params": {"image": "/etc/passwd"}}, 422),
        ({"image": "dark", "params": []}, 422),
        ({"image": "dark", "path": "/etc/passwd"}, 422),
        ({"image": "constant"}, 422),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_door(running: Any, body: dict[str, Any], status: int) -> None:
    reply = post(running, **body)
    assert reply.status_code == status
    assert set(reply.json()) == {"error", "detail", "hint"}


def test_an_unknown_job_is_not_found(running: Any) -> None:
    for address in ("/otherwise/jobs/nobody", "/otherwise/jobs/nobody/events"):
        assert running.get(address).status_code == 404
    assert requests.delete(f"{running.url}/otherwise/jobs/nobody", timeout=20).status_code == 404


def test_only_so_many_finished_jobs_are_remembered(running: Any) -> None:
    jobs = running.app.jobs
    former, jobs.kept = jobs.kept, 2
    try:
        ids = []
        for _ in range(4):
            ids.append(post(running, image="dark", kind="classify").json()["id"])
            wait(running, ids[-1])
        post(running, image="dark", kind="classify")
        assert running.get(f"/otherwise/jobs/{ids[0]}").status_code == 404
        assert running.get(f"/otherwise/jobs/{ids[-1]}").status_code == 200
    finally:
        jobs.kept = former


def test_another_method_is_asked_about_an_explained_image_once(running: Any) -> None:
    about = running.get("/otherwise/about").json()
    assert [method["name"] for method in about["methods"]] == ["occlusion"], "the stand-in gives no gradients"
    explained = wait(running, post(running, image="dark").json()["id"])["result"]["id"]
    for _ in range(2):
        job = wait(
            running, post(running, kind="attribute", explanation=explained, params={"method": "occlusion"}).json()["id"]
        )
        assert job["state"] == "done", job["error"]
        assert job["image"] == "dark"
        result = job["result"]
        assert (result["label"], result["title"]) == ("benign", "Occlusion")
        assert "arXiv" in result["source"]
    asked = [call for call in running.explainer.calls if call.get("method")]
    assert asked == [{"image": "dark", "method": "occlusion", "label": "benign", "slice_index": None}]
    reply = running.get(f"/otherwise/explanations/{explained}/files/{result['file']}")
    assert reply.content.startswith(b"NRRD")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"explanation": "none", "params": {"method": "occlusion"}}, 404),
        ({"explanation": "../x", "params": {"method": "occlusion"}}, 404),
        ({"explanation": "none", "params": {"method": "magic"}}, 422),
        ({"explanation": "none", "params": {}}, 422),
        ({"explanation": "none", "params": {"method": "occlusion", "label": "benign"}}, 422),
    ],
)
def test_an_attribution_of_nothing_is_refused(running: Any, body: dict[str, Any], status: int) -> None:
    reply = post(running, kind="attribute", **body)
    assert reply.status_code == status
    assert set(reply.json()) == {"error", "detail", "hint"}


def test_the_next_case_is_one_of_the_studies(running: Any) -> None:
    reply = requests.post(f"{running.url}/activelearning/random", json={}, timeout=20)
    assert reply.status_code == 200
    assert reply.json()["id"] in {"dark", "bright one"} | set(running.get("/datastore/?output=all").json()["objects"])
