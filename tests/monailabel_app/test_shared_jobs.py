"""What several people ask for is computed once, and what is known is not computed again."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from conftest import Running

FINAL = ("done", "failed", "cancelled", "interrupted")


def post(running: Running, seed: int, **body: Any) -> dict[str, Any]:
    body = {"image": "dark", "params": {"seed": seed}, **body}
    reply = requests.post(f"{running.url}/otherwise/jobs", json=body, timeout=20)
    assert reply.status_code == 202, reply.text
    job: dict[str, Any] = reply.json()
    return job


def wait(running: Running, id: str, states: tuple[str, ...] = FINAL) -> dict[str, Any]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        job: dict[str, Any] = running.get(f"/otherwise/jobs/{id}").json()
        if job["state"] in states:
            return job
    raise AssertionError(f"still {job['state']}")


def cancel(running: Running, id: str) -> None:
    assert requests.delete(f"{running.url}/otherwise/jobs/{id}", timeout=20).status_code == 202


def settled(running: Running) -> dict[str, int]:
    """Return the server's figures once no job of another test is queued or running."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        figures: dict[str, int] = running.app.jobs.figures()
        if not figures["queued"] and not figures["running"]:
            return figures
        time.sleep(0.05)
    raise AssertionError(f"still busy: {figures}")


def computed(running: Running, seed: int) -> int:
    return sum(call.get("seed") == seed for call in running.explainer.calls)


def test_two_who_ask_the_same_get_one_computation_and_a_job_each(running: Running) -> None:
    with running.explainer.held():
        first = post(running, 1001)
        assert running.explainer.entered.wait(10)
        second = post(running, 1001)
        assert second["id"] != first["id"]
        assert (second["state"], second["fraction"]) == ("running", 0.5), "it joins what runs"
    one, two = (wait(running, job["id"]) for job in (first, second))
    assert one["state"] == two["state"] == "done"
    assert one["result"] == two["result"]
    assert computed(running, 1001) == 1


def test_cancelling_ones_own_job_leaves_the_others(running: Running) -> None:
    with running.explainer.held():
        first, second = post(running, 1002), post(running, 1002)
        assert running.explainer.entered.wait(10)
        cancel(running, first["id"])
        assert wait(running, first["id"])["state"] == "cancelled"
        assert running.get(f"/otherwise/jobs/{second['id']}").json()["state"] == "running"
        assert not running.explainer.stopped.is_set()
    assert wait(running, second["id"])["state"] == "done"


def test_what_nobody_wants_any_more_stops_and_is_not_joined(running: Running) -> None:
    with running.explainer.held():
        first = post(running, 1003)
        assert running.explainer.entered.wait(10)
        cancel(running, first["id"])
        second = post(running, 1003)
        assert running.explainer.stopped.wait(10)
    assert wait(running, first["id"])["state"] == "cancelled"
    assert wait(running, second["id"])["state"] == "done"
    assert computed(running, 1003) == 2


def test_a_finished_explanation_answers_at_once_as_long_as_it_is_kept(running: Running) -> None:
    made = wait(running, post(running, 1004)["id"])
    again = post(running, 1004)
    assert (again["state"], again["cached"], again["result"]) == ("done", True, made["result"])
    assert not made["cached"]

    fresh = wait(running, post(running, 1004, fresh=True)["id"])
    assert not fresh["cached"]
    assert fresh["result"]["id"] != made["result"]["id"]
    assert post(running, 1004)["result"]["id"] == fresh["result"]["id"], "the newest is the answer"

    shutil.rmtree(running.state / "explanations" / fresh["result"]["id"])
    renewed = post(running, 1004)
    assert not renewed["cached"]
    assert wait(running, renewed["id"])["state"] == "done"
    assert computed(running, 1004) == 3


@pytest.mark.parametrize(
    ("seed", "other"),
    [
        (1005, {"image": "bright one"}),
        (1006, {"params": {"seed": 1006, "target": "malignant"}}),
        (1007, {"params": {"seed": 1007, "slice_index": 0}}),
    ],
)
def test_another_image_or_another_option_is_another_question(running: Running, seed: int, other: dict) -> None:
    wait(running, post(running, seed)["id"])
    assert not wait(running, post(running, seed, **other)["id"])["cached"]
    assert computed(running, seed) == 2


def test_other_models_give_other_answers(running: Running) -> None:
    wait(running, post(running, 1008)["id"])
    agent = running.explainer.agent
    running.explainer.agent = type(agent)(version="another")
    try:
        assert not wait(running, post(running, 1008)["id"])["cached"]
    finally:
        running.explainer.agent = agent
    assert post(running, 1008)["cached"], "going back to the former models, their answer is still known"


def test_an_uploaded_image_is_known_by_what_it_shows(running: Running) -> None:
    def session() -> str:
        with (running.studies / "dark.nrrd").open("rb") as file:
            reply = requests.put(f"{running.url}/session/", files={"files": ("image.nrrd", file)}, timeout=20)
        return str(reply.json()["session_id"])

    first = wait(running, post(running, 1009, image="", session=session())["id"])
    second = post(running, 1009, image="", session=session())
    assert (first["cached"], second["cached"]) == (False, True)
    other = post(running, 1009, image="dark")
    assert not other["cached"], "an image of the studies is told by its own name"
    wait(running, other["id"])


@pytest.mark.timing
def test_a_deadline_ends_what_runs_and_what_waits_within_a_second(running: Running) -> None:
    with running.explainer.held():
        patient = post(running, 1010)
        assert running.explainer.entered.wait(10)
        begun = time.monotonic()
        hasty = [post(running, seed, deadline_seconds=0.5) for seed in (1010, 1011)]
        ended = [wait(running, job["id"]) for job in hasty]
        assert time.monotonic() - begun < 2.5, "half a second, a second more, and what asking takes on a busy machine"
        assert [(job["state"], job["error"]["error"]) for job in ended] == [("failed", "deadline")] * 2
        assert not running.explainer.stopped.is_set(), "somebody else still waits for it"
    assert wait(running, patient["id"])["state"] == "done"
    with running.explainer.held():
        job = post(running, 1012, deadline_seconds=0.5)
        assert running.explainer.stopped.wait(10), "nobody waits any more"
    assert wait(running, job["id"])["error"]["error"] == "deadline"
    assert computed(running, 1011) == 0


@pytest.mark.parametrize("seconds", [0, -1, "soon", 1e400])
def test_a_deadline_is_a_time_to_come(running: Running, seconds: Any) -> None:
    body = f'{{"image": "dark", "deadline_seconds": {seconds if seconds != "soon" else chr(34) + "soon" + chr(34)}}}'
    headers = {"Content-Type": "application/json"}
    reply = requests.post(f"{running.url}/otherwise/jobs", data=body, headers=headers, timeout=20)
    assert reply.status_code in (400, 422)
    assert set(reply.json()) == {"error", "detail", "hint"}


def test_figures_count_what_needed_no_computation(running: Running) -> None:
    before = settled(running)
    wait(running, post(running, 1013)["id"])
    post(running, 1013)
    after = settled(running)
    assert after["cached"] - before["cached"] == 1
    assert after["done"] - before["done"] == 1
