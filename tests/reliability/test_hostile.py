"""Eight hostile readers beside four honest users: nobody honest fails or waits, and memory stays bounded.

Half a minute here; five minutes: ``OTHERWISE_HOSTILE_MINUTES=5 pytest -s -m slow`` with this file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from statistics import quantiles

import psutil
import pytest
import requests

from otherwise.tokens import Role, add_token
from support.serve_process import Process, serving

HONEST, HOSTILE = 4, 8
SECONDS = 60 * float(os.environ.get("OTHERWISE_HOSTILE_MINUTES", "0.5"))
WARM_UP_SECONDS = 15.0
READING_MIB = 1500
"""Memory that images may take; everything else has to do with ``MORE_MIB`` beyond what the server took before."""
MORE_MIB = 700
P99_SECONDS = 0.2
LOOK_SECONDS = 0.2
LOOKS_FOR_MEMORY = 5
"""Looks at ``/info/`` for one at the memory, which the system adds up from all pages of the server."""


class Watch(threading.Thread):
    """Asks for ``/info/`` and ``/otherwise/health/live`` and measures the server's memory until it is told to stop."""

    def __init__(self, server: Process, token: str) -> None:
        super().__init__()
        self.url, self.token = server.url, token
        self.server = psutil.Process(server.process.pid)
        self.waits: dict[str, list[float]] = {"/info/": [], "/otherwise/health/live": []}
        self.statuses: set[int] = set()
        self.memory: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self.token}"
            for look in count():
                if self.over.wait(LOOK_SECONDS):
                    break
                for address, waits in self.waits.items():
                    begun = time.monotonic()
                    self.statuses.add(session.get(self.url + address, timeout=60).status_code)
                    waits.append(time.monotonic() - begun)
                if look % LOOKS_FOR_MEMORY == 0:
                    self.memory.append(self.server.memory_full_info().uss)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def honest_people(url: str, tokens: list[str], folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    people = Path(__file__).with_name("people.py")
    words = ["--headless", "--only-summary", "--users", str(HONEST), "--spawn-rate", str(HONEST), "--host", url]
    words += ["--run-time", f"{seconds:.0f}s", "--stop-timeout", "60", "--exit-code-on-error", "0"]
    settings = {"OTHERWISE_LOAD_REPORT": str(folder / "honest.json"), "OTHERWISE_LOAD_TOKENS": ",".join(tokens)}
    with (folder / "honest.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "locust", "--locustfile", str(people), *words],
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
        )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="needs locust (pip install '.[test]')")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="each needs a loopback address of its own")
def test_hostile_readers_keep_nobody_out(studies: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    honest = [add_token(file, f"honest{number}", Role.ANNOTATOR) for number in range(HONEST + 1)]
    hostile = [add_token(file, f"hostile{number}", Role.READER) for number in range(HOSTILE)]
    options = ("--state", tmp_path / "state", "--tokens", file, "--limit", f"reading_mib={READING_MIB}")
    with serving(tmp_path, "--studies", studies, *options, "--device", "cpu") as server:
        process = psutil.Process(server.process.pid)
        people = honest_people(server.url, honest[:HONEST], tmp_path, WARM_UP_SECONDS + SECONDS)
        time.sleep(WARM_UP_SECONDS)  # until people have begun, and what is used for the first time is loaded
        before = process.memory_full_info().uss
        with Watch(server, honest[HONEST]) as watch:
            attack = Path(__file__).with_name("hostile.py")
            done = subprocess.run(
                [sys.executable, str(attack), server.url, str(SECONDS), *hostile], capture_output=True, text=True
            )
        people.wait(300)
        log = server.log.read_text(encoding="utf-8")

    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "honest.json").read_text(encoding="utf-8"))
    waits, refused = report["waits"], sum(report["refused"].values())
    asked = sum(each["requests"] for each in waits.values())
    p99 = {address: quantiles(each, n=100)[98] for address, each in watch.waits.items()}
    print(f"\n{asked} honest requests, {len(report['failures'])} failed, {refused} told to come again;", end=" ")
    print("; ".join(f"{name} p99 {value:.3f} s of {len(watch.waits[name])}" for name, value in p99.items()), end="; ")
    print(f"memory {before / 2**20:.0f} MiB before, {max(watch.memory) / 2**20:.0f} MiB at most,", end=" ")
    print(f"{watch.memory[-1] / 2**20:.0f} MiB at the end; load {os.getloadavg()[0]:.0f}")
    for name, answers in json.loads(done.stdout).items():
        print(f"| {name} | {', '.join(f'{count} x {answer}' for answer, count in sorted(answers.items()))} |")
    for name, each in sorted(waits.items()):
        print(f"| `{name}` | {each['requests']} | {each['p50']:.3f} | {each['p99']:.3f} | {each['worst']:.3f} |")

    assert report["failures"] == []
    assert report["exceptions"] == []
    assert watch.statuses == {200}
    assert "Traceback" not in log
    assert max(watch.memory) - before < (READING_MIB + MORE_MIB) * 2**20
    assert watch.memory[-1] - before < MORE_MIB * 2**20, "what images took is given back"
    assert p99["/info/"] <= P99_SECONDS
