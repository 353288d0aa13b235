"""A server that several clients keep busy, what it promised them, and its end without warning."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psutil
import requests

from otherwise.blackbox.bundle import bundle_version
from otherwise.blackbox.loading import find_bundle
from otherwise.demo.client import session
from otherwise.demo.server import ServerProcess
from otherwise.registry.registry import AGENT, Model, PairVersion, Registry, now, pair_id

SECONDS = 10.0
LOOK = 0.1
SQUARE = {"polygon": [[-20, -20, 0], [-24, -20, 0], [-24, -24, 0], [-20, -24, 0]]}
CLASSIFIER, SHIPPED_AGENT = "mammogram_classifier", "mammogram_agent"


@dataclass
class Promises:
    """What clients were told, and so rely on.

    Attributes:
        jobs: Ids of jobs that were accepted (202) and need not have ended.
        done: Ids of jobs that were told to be done.
        notes: Ids of annotations that were recorded (201).
        active: The version of the models that was activated last (200).
        asked: The versions that somebody asked for since then, without an answer.
        counts: How many promises there were, by kind, over all lives of the server.
    """

    jobs: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    active: str = ""
    asked: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("jobs", "done", "notes", "models"), 0))

    def broken(self, url: str) -> list[str]:
        """What a server that was started again does not know any more; forgets what need not be there for ever."""
        with session() as asking:

            def get(address: str) -> Any:
                reply = asking.get(f"{url}/otherwise/{address}", timeout=SECONDS)
                return reply.json() if reply.ok else {}

            states = {job["id"]: job["state"] for job in get("jobs")}
            notes, models = get("annotations").get("annotations", []), get("models")
        problems = [f"job {id} is gone" for id in (self.jobs | self.done) - set(states)]
        problems += [f"job {id} is {states[id]}" for id in self.done & set(states) if states[id] != "done"]
        problems += [f"annotation {id} is gone" for id in self.notes - {note["id"] for note in notes}]
        if [note["number"] for note in notes] != [*range(1, len(notes) + 1)]:
            problems.append("annotations are not numbered one after the other")
        if self.active and models.get("active") not in {self.active, *self.asked}:
            problems.append(f"{models.get('active')} is active, not {self.active}")
        if models.get("problem") != "":
            problems.append(f"the models: {models.get('problem')}")
        # Of those that have ended only the last 256 are remembered; those that wait or run are never forgotten.
        self.jobs, self.done = {id for id, state in states.items() if state in ("queued", "running")}, set()
        self.active, self.asked = models.get("active", ""), set()
        return problems


class Crowd:
    """Clients that explain, classify, annotate, change the models and train, each until the server is gone.

    Args:
        server: Whom they ask.
        images: Ids of its studies.
        pairs: Ids of the versions of the models.
        promises: What they are told is noted here.
        seeds: Numbers that were not used yet, so that nothing is known already.
    """

    def __init__(
        self, server: ServerProcess, images: list[str], pairs: list[str], promises: Promises, seeds: count[int]
    ) -> None:
        self.server, self.images, self.pairs, self.promises, self._seeds = server, images, pairs, promises, seeds
        self._gone = threading.Event()
        clients = (self._explain, self._classify, self._annotate, self._annotate, self._change, self._train)
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]

    def kill_after(self, seconds: float) -> None:
        """Let them begin, and kill the server and all that it started after so many seconds."""
        for thread in self._threads:
            thread.start()
        self._gone.wait(seconds)
        assert self.server.process.poll() is None, "it ended by itself"
        started = psutil.Process(self.server.process.pid).children(recursive=True)
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self._gone.set()
        self.server.process.wait()
        for process in started:  # a training of its own group would write on
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(started, timeout=SECONDS)
        for thread in self._threads:
            thread.join()

    def _run(self, client: Callable[[requests.Session], None]) -> None:
        with session() as asking, suppress(requests.RequestException):
            while not self._gone.is_set():
                client(asking)

    def _post(self, asking: requests.Session, address: str, body: dict[str, Any]) -> requests.Response:
        return asking.post(f"{self.server.url}{address}", json=body, timeout=SECONDS)

    def _promised(self, kind: str) -> None:
        self.promises.counts[kind] += 1

    def _job(self, asking: requests.Session, body: dict[str, Any]) -> None:
        reply = self._post(asking, "/otherwise/jobs", body)
        if reply.status_code != 202:
            self._gone.wait(LOOK)
            return
        job = reply.json()
        self.promises.jobs.add(job["id"])
        self._promised("jobs")
        while job["state"] in ("queued", "running") and not self._gone.wait(LOOK):
            job = asking.get(f"{self.server.url}/otherwise/jobs/{job['id']}", timeout=SECONDS).json()
        if job["state"] == "done":
            self.promises.done.add(job["id"])
            self._promised("done")

    def _explain(self, asking: requests.Session) -> None:
        seed = next(self._seeds)
        self._job(asking, {"image": self.images[seed % len(self.images)], "params": {"seed": seed}})

    def _classify(self, asking: requests.Session) -> None:
        self._job(asking, {"kind": "classify", "image": self.images[next(self._seeds) % len(self.images)]})

    def _annotate(self, asking: requests.Session) -> None:
        body = {"kind": "name", "image": self.images[0], "region": SQUARE, "term": {"meaning": "something"}}
        reply = self._post(asking, "/otherwise/annotations", body)
        if reply.status_code == 201:
            self.promises.notes.add(reply.json()["annotation"]["id"])
            self._promised("notes")

    def _change(self, asking: requests.Session) -> None:
        id = self.pairs[next(self._seeds) % len(self.pairs)]
        self.promises.asked.add(id)
        if self._post(asking, f"/otherwise/models/{id}/activate", {}).ok:
            self.promises.active, self.promises.asked = id, set()
            self._promised("models")

    def _train(self, asking: requests.Session) -> None:
        self._post(asking, "/train/agent", {"minutes": 1})
        self._gone.wait(SECONDS)


def two_pairs(state: Path) -> list[str]:
    """Register the shipped pair once more under another version, so that the models can be changed."""
    classifier = Model(CLASSIFIER, bundle_version(find_bundle(CLASSIFIER)), CLASSIFIER)
    shipped = Model(SHIPPED_AGENT, bundle_version(find_bundle(SHIPPED_AGENT)), SHIPPED_AGENT)
    copy = state / "copy"
    shutil.copytree(find_bundle(SHIPPED_AGENT), copy)
    metadata = copy / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace('"1.0.0"', '"1.0.1"'), encoding="utf-8")
    other = Model(SHIPPED_AGENT, bundle_version(copy), AGENT)
    registry = Registry(state / "models")
    ids = [pair_id(classifier.version, agent.version) for agent in (shipped, other)]
    registry.add(PairVersion(ids[0], now(), classifier, shipped))
    registry.add(PairVersion(ids[1], now(), classifier, other), copy)
    return ids


def instants(kills: int) -> list[float]:
    """Seconds after which the server is killed each time; the same for the same number."""
    draw = Random(kills)
    return [draw.uniform(0.1, 5.0) for _ in range(kills)]
