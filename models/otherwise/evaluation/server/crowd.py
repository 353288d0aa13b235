"""How quickly every kind of address of the real server answers while several people explain at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count, cycle

import numpy as np
import requests
from rich.console import Console

from otherwise.blackbox.model_card import machine_class
from otherwise.demo.client import session
from otherwise.demo.images import write_studies
from otherwise.demo.server import server
from otherwise.demo.setup import DemoError, Setup, claim
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.termination import ending_on_termination

SEED = 555_777
"""Of the phantoms."""
IMAGES = 8
PERIOD = 0.02
"""Seconds between two requests of the client that is timed."""
LOOK = 0.5
"""Seconds between two looks at a job, as Slicer looks."""
TIMEOUT = 120.0

PROBES: Mapping[str, tuple[str, str]] = {
    "info": ("GET", "/info/"),
    "train": ("GET", "/train/"),
    "batch": ("GET", "/batch/infer"),
    "scoring": ("GET", "/scoring/"),
    "static": ("GET", "/static/favicon.ico"),
    "datastore": ("GET", "/datastore/?output=all"),
    "next case": ("POST", "/activelearning/random"),
    "about": ("GET", "/otherwise/about"),
    "health": ("GET", "/otherwise/health"),
    "jobs": ("GET", "/otherwise/jobs"),
    "job": ("GET", "/otherwise/jobs/{job}"),
    "explanation": ("GET", "/otherwise/explanations/{explanation}"),
    "file": ("GET", "/otherwise/explanations/{explanation}/files/explanation.json"),
    "names": ("GET", "/otherwise/concepts"),
    "models": ("GET", "/otherwise/models"),
}
"""What the client that is timed asks for, one after the other."""


@dataclass(frozen=True)
class Waits:
    """How long one kind of request took, in seconds."""

    p50: float
    p99: float
    worst: float
    requests: int

    @classmethod
    def of(cls, seconds: list[float]) -> Waits:
        """Sum up."""
        p50, p99, worst = (round(float(np.percentile(seconds, share)), 4) for share in (50, 99, 100))
        return cls(p50, p99, worst, len(seconds))


@dataclass(frozen=True)
class CrowdFigures:
    """What a client meets while others explain.

    Attributes:
        clients: How many explain at once, each a new question as soon as the last is answered.
        seconds: How long.
        explained: How many explanations were made meanwhile.
        failed: How many of the explaining clients' requests were not answered well.
        waits: Of the client that is timed, by kind of request (``PROBES``), and of all together.
        machine: Class of machine.
    """

    clients: int
    seconds: float
    explained: int
    failed: int
    waits: Mapping[str, Waits]
    machine: str

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_crowd(setup: Setup, clients: int, seconds: float, console: Console) -> CrowdFigures:
    """Let several clients explain for a while, and time another one.

    Args:
        setup: Where to write, and which models to host.
        clients: How many explain.
        seconds: How long, after the first explanation.
        console: For messages on what is done.

    Raises:
        DemoError: if the server fails, or a request of the client that is timed.
    """
    claim(setup.out)
    phantoms = mammograms(SEED, IMAGES, MammogramSettings())
    names = list(write_studies((phantom.image for phantom in phantoms), setup.out / "studies"))
    with ending_on_termination(), server(setup, setup.out / "studies") as running:
        running.wait_until_ready()
        first = _explain(running.url, names[0], 0, threading.Event())
        if first is None:
            raise DemoError("The first explanation failed.", f"The server's log is {running.log}.")
        stop, seeds = threading.Event(), count(1)
        tally: list[bool] = []

        def explain_on(number: int) -> None:
            while not stop.is_set():
                done = _explain(running.url, names[number % len(names)], next(seeds), stop)
                if not stop.is_set():
                    tally.append(done is not None)

        with ThreadPoolExecutor(clients) as pool, console.status(f"{clients} clients explain"):
            working = [pool.submit(explain_on, number) for number in range(clients)]
            try:
                waits = _probe(running.url, first, seconds)
            finally:
                stop.set()
            for each in working:
                each.result()
    return CrowdFigures(clients, seconds, sum(tally), tally.count(False), waits, machine_class(setup.device))


def _explain(url: str, image: str, seed: int, stop: threading.Event) -> dict[str, str] | None:
    """Ask for one explanation as Slicer does; None if it failed, or was given up."""
    with session() as asking, suppress(requests.RequestException):
        body = {"image": image, "params": {"seed": seed}}
        reply = asking.post(f"{url}/otherwise/jobs", json=body, timeout=TIMEOUT)
        job = reply.json()
        while reply.ok and job["state"] in ("queued", "running"):
            if stop.wait(LOOK):
                asking.delete(f"{url}/otherwise/jobs/{job['id']}", timeout=TIMEOUT)
                return None
            reply = asking.get(f"{url}/otherwise/jobs/{job['id']}", timeout=TIMEOUT)
            job = reply.json()
        if reply.ok and job["state"] == "done":
            return {"job": job["id"], "explanation": job["result"]["id"]}
    return None


def _probe(url: str, made: Mapping[str, str], seconds: float) -> dict[str, Waits]:
    """Ask for one thing after the other, and time each."""
    waits: dict[str, list[float]] = {name: [] for name in PROBES}
    end = time.monotonic() + seconds
    with session() as asking:
        for name, (method, address) in cycle(PROBES.items()):
            if time.monotonic() > end and all(waits.values()):
                break
            waits[name].append(_timed(asking, method, url + address.format(**made)))
            time.sleep(PERIOD)
    every = [wait for kind in waits.values() for wait in kind]
    return {**{name: Waits.of(kind) for name, kind in waits.items()}, "all": Waits.of(every)}


def _timed(asking: requests.Session, method: str, url: str) -> float:
    begun = time.perf_counter()
    try:
        reply = asking.request(method, url, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise DemoError(f"The server does not answer ({type(error).__name__}).", "Look at its log.") from error
    waited = time.perf_counter() - begun
    if reply.status_code >= 500:
        raise DemoError(f"{reply.request.path_url} answered {reply.status_code}.", "Look at the server's log.")
    return waited
