"""A server that is killed at any instant has lost no job that it acknowledged, and is soon back.

Two kills here; the full hundred: ``OTHERWISE_KILLS=100 pytest tests/end_to_end/test_killed_jobs.py``.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from otherwise.demo.client import session
from otherwise.demo.server import Server, server
from otherwise.demo.setup import Setup
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms

KILLS = int(os.environ.get("OTHERWISE_KILLS", "2"))
START_SECONDS = float(os.environ.get("OTHERWISE_START_SECONDS", "60"))
CLIENTS = 3


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
def test_nothing_acknowledged_is_lost_however_often_the_server_is_killed(tmp_path: Path) -> None:
    studies, instants, seeds = tmp_path / "studies", random.Random(KILLS), count()
    for phantom in mammograms(seed=1_618, count=2, settings=MammogramSettings()):
        write_image(phantom.image, studies / f"{phantom.image.id}.nrrd")
    images = sorted(path.stem for path in studies.glob("*.nrrd"))
    setup = Setup(tmp_path, "test", None, "mammogram_classifier", "mammogram_agent", device="cpu")
    acknowledged: list[str] = []
    finished: dict[str, str] = {}

    def ask(running: Server, stop: threading.Event) -> None:
        with session() as mine:
            while not stop.is_set():
                seed = next(seeds)
                body = {"image": images[seed % 2], "kind": ("explain", "classify")[seed % 2], "params": {}}
                body |= {"params": {"seed": seed}} if body["kind"] == "explain" else {}
                try:
                    reply = mine.post(f"{running.url}/otherwise/jobs", json=body, timeout=10)
                    if reply.status_code == 202:
                        acknowledged.append(reply.json()["id"])
                    stop.wait(0.2)
                    for job in jobs_of(mine, running):
                        if job["state"] == "done":
                            finished[job["id"]] = job["kind"]
                except requests.RequestException:
                    return

    starts, expected, told, seen = [], set[str](), 0, 0
    for kill in range(KILLS + 1):
        begun = time.monotonic()
        with server(setup, studies) as running, session() as client:
            running.wait_until_ready()
            starts.append(time.monotonic() - begun)
            assert starts[-1] < START_SECONDS
            states = {job["id"]: job["state"] for job in jobs_of(client, running)}
            assert expected | set(acknowledged) <= set(states), "each is there, whatever became of it"
            assert all(states[id] == "done" for id in finished), "what was told to be done still is"
            told, seen = told + len(acknowledged), seen + len(finished)
            acknowledged.clear(), finished.clear()
            # Those that have ended are forgotten one day, those that wait never.
            expected = {id for id, state in states.items() if state in ("queued", "running")}
            if kill == KILLS:
                interrupted = [id for id, state in states.items() if state == "interrupted"]
                for id in interrupted[:1]:
                    assert client.post(f"{running.url}/otherwise/jobs/{id}/repeat", timeout=10).status_code == 202
                break
            stop = threading.Event()
            threads = [threading.Thread(target=ask, args=(running, stop)) for _ in range(CLIENTS)]
            for thread in threads:
                thread.start()
            time.sleep(instants.uniform(0.2, 3))
            os.killpg(running.process.pid, signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
    print(f"{KILLS} kills, {told} jobs acknowledged, {seen} seen done, start {max(starts):.1f} s")
    assert told


def jobs_of(client: requests.Session, running: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{running.url}/otherwise/jobs", timeout=10).json()
    return found
