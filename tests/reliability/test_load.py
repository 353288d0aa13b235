"""Eight people use a server all day: no request fails, and its memory stays as it is.

Some seconds here; ten minutes: ``OTHERWISE_LOAD_MINUTES=10 pytest -s`` with this file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from support import forked_python

PEOPLE = 8
SECONDS = 60 * float(os.environ.get("OTHERWISE_LOAD_MINUTES", "0.35"))
WARM_UP_SECONDS = max(8.0, min(180.0, SECONDS / 3))
GROWTH = 0.05 if SECONDS >= 600 else 0.5
"""Short runs cannot tell a leak from what is used for the first time, such as that which learns names."""
WINDOW = max(5, int(min(60, SECONDS / 10)))
"""Looks at the memory, one a second, of which the median counts: what a request needs is given back."""


@dataclass(frozen=True)
class Load:
    """What a crowd met.

    Attributes:
        report: See ``people.py``.
        memory: Of the server in bytes, each second after the warm-up; what it does not share with other processes.
    """

    report: dict[str, Any]
    memory: list[int]


def load(url: str, process: psutil.Process, folder: Path, seconds: float) -> Load:
    """Let people work; locust changes how sockets work in its process, so it has one of its own."""
    people = Path(__file__).with_name("people.py")
    report = folder / "load.json"
    words = ["--headless", "--only-summary", "--users", str(PEOPLE), "--spawn-rate", str(PEOPLE), "--host", url]
    words += ["--run-time", f"{WARM_UP_SECONDS + seconds:.0f}s", "--stop-timeout", "60", "--exit-code-on-error", "0"]
    command = [sys.executable, "-m", "locust", "--locustfile", str(people), *words]
    memory = []
    with (folder / "people.log").open("w") as log:
        crowd = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OTHERWISE_LOAD_REPORT": str(report)}
        )
        begun = time.monotonic()
        try:
            while crowd.poll() is None:
                if WARM_UP_SECONDS < time.monotonic() - begun < WARM_UP_SECONDS + seconds:
                    memory.append(process.memory_full_info().uss)
                time.sleep(1)
        finally:
            crowd.kill()
            crowd.wait()
    assert report.is_file(), (folder / "people.log").read_text()
    return Load(json.loads(report.read_text(encoding="utf-8")), memory)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="needs locust (pip install '.[test]')")
def test_eight_people_use_the_server_all_day(studies: Path, tmp_path: Path) -> None:
    setup = Setup(tmp_path, "test", None, "mammogram_classifier", "mammogram_agent", device="cpu")
    with server(setup, studies, forked_python.start) as running:
        running.wait_until_ready()
        done = load(running.url, psutil.Process(running.process.pid), tmp_path, SECONDS)
        log = running.log.read_text(encoding="utf-8")

    (tmp_path / "memory.json").write_text(json.dumps(done.memory))
    first, last = median(done.memory[:WINDOW]), median(done.memory[-WINDOW:])
    waits, refused = done.report["waits"], sum(done.report["refused"].values())
    asked, failures = sum(each["requests"] for each in waits.values()), done.report["failures"]
    seconds = WARM_UP_SECONDS + SECONDS
    print(f"\n{asked} requests in {seconds:.0f} s, {len(failures)} failed, {refused} told to come again;", end=" ")
    print(f"memory {first / 2**20:.0f} MiB after {WARM_UP_SECONDS:.0f} s, {last / 2**20:.0f} MiB at the end;", end=" ")
    print(f"load {os.getloadavg()[0]:.0f}")
    for name, each in sorted(waits.items()):
        print(f"| `{name}` | {each['requests']} | {each['p50']:.3f} | {each['p99']:.3f} | {each['worst']:.3f} |")

    assert failures == []
    assert done.report["exceptions"] == []
    assert "Traceback" not in log
    assert waits["POST /otherwise/jobs"]["requests"] >= PEOPLE
    assert waits["GET /otherwise/explanations/{id}/report.html"]["requests"]
    assert last < (1 + GROWTH) * first
