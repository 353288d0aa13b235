"""How quickly the real server explains, how it answers meanwhile, and how much memory it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import psutil
import requests
from rich.console import Console

from otherwise.blackbox.model_card import machine_class
from otherwise.demo.client import DemoClient, session
from otherwise.demo.images import write_studies
from otherwise.demo.server import server
from otherwise.demo.setup import Setup, claim
from otherwise.demo.story import run_demo
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.termination import ending_on_termination

SEED = 555_555
"""Of the phantoms; no shipped model has seen them."""
PERIOD = 0.05
"""Seconds between two looks at memory, and between two requests of the other client."""


@dataclass(frozen=True)
class ServerFigures:
    """Times and memory of the server, as a client measures them.

    Attributes:
        images: How many were explained, one after the other.
        explain_seconds_median: From the request to the complete reply.
        explain_seconds_worst: The slowest.
        valid_share: Share of the replies that flip the black box.
        info_seconds_p95: ``GET /info/`` while an explanation runs, 95th percentile.
        info_requests: How many such requests.
        peak_memory_gib: Largest resident memory of the server and its children, seen every 0.05 s.
        start_seconds: Until the server answers.
        machine: Class of machine.
    """

    images: int
    explain_seconds_median: float
    explain_seconds_worst: float
    valid_share: float
    info_seconds_p95: float
    info_requests: int
    peak_memory_gib: float
    start_seconds: float
    machine: str

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_server(setup: Setup, count: int, console: Console) -> ServerFigures:
    """Start the server, explain ``count`` phantoms over HTTP, and then as many beside a second client.

    Args:
        setup: Where to write, and which models to host.
        count: Images for each of both.
        console: For messages on what is done.

    Raises:
        DemoError: if the server fails.
    """
    claim(setup.out)
    phantoms = mammograms(SEED, 2 * count, MammogramSettings())
    names = list(write_studies((phantom.image for phantom in phantoms), setup.out / "studies"))
    begun = time.perf_counter()
    with ending_on_termination(), server(setup, setup.out / "studies") as running:
        running.wait_until_ready()
        started = time.perf_counter() - begun
        client = DemoClient(running.url)
        with _again_and_again(_memory_of(running.process.pid)) as memory:
            with console.status(f"Explaining {count} images"):
                seconds, valid = _explain(client, names[:count])
            with (
                console.status(f"Explaining {count} more beside another client"),
                _again_and_again(_info_of(running.url)) as waits,
            ):
                _explain(client, names[count:])
    return ServerFigures(
        images=count,
        explain_seconds_median=round(float(np.median(seconds)), 2),
        explain_seconds_worst=round(max(seconds), 2),
        valid_share=sum(valid) / count,
        info_seconds_p95=round(float(np.percentile(waits, 95)), 3),
        info_requests=len(waits),
        peak_memory_gib=round(max(memory) / 2**30, 2),
        start_seconds=round(started, 1),
        machine=machine_class(setup.device),
    )


def measure_demo(setup: Setup) -> float:
    """Return the seconds that ``otherwise demo --once`` takes on phantoms, without the start of Python."""
    begun = time.perf_counter()
    run_demo(replace(setup, source="phantoms", path=None, once=True), Console(quiet=True))
    return round(time.perf_counter() - begun, 1)


def _explain(client: DemoClient, names: Sequence[str]) -> tuple[list[float], list[bool]]:
    seconds, valid = [], []
    for name in names:
        begun = time.perf_counter()
        answer = client.infer("explain", name)
        seconds.append(time.perf_counter() - begun)
        valid.append(bool(answer["counterfactual"]["valid"]))
    return seconds, valid


def _memory_of(pid: int) -> Callable[[], float]:
    """Return the resident bytes of a process and its children."""
    root = psutil.Process(pid)

    def look() -> float:
        total = 0.0
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    return look


def _info_of(url: str) -> Callable[[], float]:
    """Return the seconds that ``GET /info/`` takes."""
    asking = session()

    def ask() -> float:
        begun = time.perf_counter()
        reply = asking.get(f"{url}/info/", timeout=60)
        waited = time.perf_counter() - begun
        if not reply.ok:
            raise requests.HTTPError(f"/info/ answered {reply.status_code}")
        return waited

    return ask


@contextmanager
def _again_and_again(measure: Callable[[], float]) -> Iterator[list[float]]:
    """Collect a measurement every ``PERIOD`` on a thread; an error there is raised at the end."""
    values: list[float] = []
    problems: list[Exception] = []
    stop = threading.Event()

    def collect() -> None:
        try:
            while not stop.is_set():
                values.append(measure())
                stop.wait(PERIOD)
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield values
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]
