"""One explanation must never freeze the server, and nobody computes for a client that has left."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import pytest
import requests

if TYPE_CHECKING:
    from conftest import Running

PATIENCE = 20


@pytest.mark.timing
def test_other_requests_are_answered_while_an_explanation_runs(running: Running) -> None:
    with ThreadPoolExecutor(3) as clients:
        with running.explainer.held():
            explanation = clients.submit(running.infer, "explain", image="dark", output="json")
            assert running.explainer.entered.wait(PATIENCE)
            queued = clients.submit(running.infer, "classify", image="dark")

            slowest = 0.0
            for address in ("/info/", "/otherwise/about", "/otherwise/health", "/datastore/") * 3:
                begun = time.perf_counter()
                assert running.get(address).ok
                slowest = max(slowest, time.perf_counter() - begun)
            broken = running.infer("classify", image="constant")

            assert slowest < 2, "a server that waits for the explanation would never answer here"
            assert broken.status_code == 422, "a broken image is refused without queueing"
            assert not explanation.done()
            assert not queued.done(), "one device does one thing at a time"
        assert explanation.result(PATIENCE).status_code == 200
        assert queued.result(PATIENCE).status_code == 200


def test_a_client_that_hangs_up_stops_its_explanation(running: Running) -> None:
    server = urlparse(running.url)
    with running.explainer.held():
        with socket.create_connection((server.hostname or "", server.port or 0)) as client:
            client.sendall(
                f"POST {server.path}/infer/explain?image=dark HTTP/1.1\r\n".encode()
                + b"Host: localhost\r\nContent-Length: 9\r\n"
                + b"Content-Type: application/x-www-form-urlencoded\r\n\r\nparams={}"
            )
            assert running.explainer.entered.wait(PATIENCE)

        assert running.explainer.stopped.wait(PATIENCE)
    assert running.infer("classify", image="dark").ok, "the worker is free again"


def test_health_counts_what_runs_and_what_waits(running: Running) -> None:
    with ThreadPoolExecutor(1) as clients, running.explainer.held():
        clients.submit(running.infer, "explain", image="dark", output="json")
        assert running.explainer.entered.wait(PATIENCE)

        assert running.get("/otherwise/health").json() == {"status": "ok", "running": 1, "waiting": 0}
        running.explainer.go_on.set()


def test_when_too_many_wait_the_next_is_told_when_to_come_back(running: Running) -> None:
    worker = running.app.host.worker
    former, worker.limit_per_user = worker.limit_per_user, 1
    try:
        with ThreadPoolExecutor(2) as clients, running.explainer.held():
            clients.submit(running.infer, "explain", image="dark", output="json")
            assert running.explainer.entered.wait(PATIENCE)
            url = f"{running.url}/otherwise/jobs"
            waiting = requests.post(url, json={"image": "bright one", "params": {"seed": 77}}, timeout=PATIENCE)
            assert waiting.status_code == 202
            for reply in (
                running.infer("classify", image="dark"),
                requests.post(url, json={"image": "dark", "params": {"seed": 78}}, timeout=PATIENCE),
            ):
                assert reply.status_code == 429
                assert int(reply.headers["Retry-After"]) >= 1
                assert reply.json()["error"] == "busy"
                assert set(reply.json()) == {"error", "detail", "hint"}
            requests.delete(f"{url}/{waiting.json()['id']}", timeout=PATIENCE)
    finally:
        worker.limit_per_user = former
