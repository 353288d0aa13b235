"""What people do with the server all day, for locust, which runs it in a process of its own (``test_load.py``)."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from locust import HttpUser, between, events, task

REPORT = "OTHERWISE_LOAD_REPORT"
TOKENS = "OTHERWISE_LOAD_TOKENS"
"""Tokens of the people, divided by commas; without them the address lets everybody in."""
LOOK = 0.5
"""Seconds between two looks at a job, as Slicer looks."""
JOB_SECONDS = 120.0
TIMEOUT = 60.0
SEEDS = count(1)
REFUSED: Counter[str] = Counter()
"""Answers of 429, by address: whoever was told to wait has waited, and asked again."""


class Person(HttpUser):
    """Somebody at Slicer, who waits for each answer before the next question."""

    wait_time = between(0.2, 1.0)

    def on_start(self) -> None:
        self.client.trust_env = False
        seed = next(SEEDS)
        self.draw = Random(seed)
        if tokens := os.environ.get(TOKENS):
            names = tokens.split(",")
            self.client.headers["Authorization"] = f"Bearer {names[seed % len(names)]}"
        self.images = sorted(image["id"] for image in self.ask("GET", "/otherwise/studies")["studies"])
        self.explanation: dict[str, Any] = {}
        self.explain()

    def ask(self, method: str, address: str, name: str = "", allowed: tuple[int, ...] = (), **more: Any) -> Any:
        """Ask until the answer is something other than to come again later.

        Args:
            method: Of HTTP.
            address: With ids and query.
            name: Under which it is counted; default: the address.
            allowed: Statuses beyond 2xx that are no failure.
            more: Further arguments of ``requests``.
        """
        while True:
            asked = {"name": f"{method} {name or address}", "timeout": TIMEOUT, "catch_response": True}
            with self.client.request(method, address, **asked, **more) as reply:
                if reply.status_code == 429:
                    REFUSED[asked["name"]] += 1
                elif not reply.ok and reply.status_code not in allowed:
                    reply.failure(f"{reply.status_code} {reply.text[:200]}")
                if reply.ok or reply.status_code in (429, *allowed):
                    reply.success()
            if reply.status_code != 429:
                kind = reply.headers.get("Content-Type", "")
                return reply.json() if reply.ok and kind.startswith("application/json") else {}
            time.sleep(float(reply.headers["Retry-After"]))

    @task(3)
    def explain(self) -> None:
        """Start a job, watch it, and fetch what came out."""
        body = {"image": self.draw.choice(self.images), "params": {"seed": next(SEEDS)}}
        job = self.ask("POST", "/otherwise/jobs", json=body)
        until = time.monotonic() + JOB_SECONDS
        while job.get("state") in ("queued", "running"):
            if time.monotonic() > until:
                raise TimeoutError(f"a job is {job['state']} after {JOB_SECONDS:g} s")
            time.sleep(LOOK)
            job = self.ask("GET", f"/otherwise/jobs/{job['id']}", "/otherwise/jobs/{id}")
        if job.get("state") != "done":
            raise RuntimeError(f"a job is {job.get('state')}: {job.get('error')}")
        self.explanation = job["result"]
        base, template = f"/otherwise/explanations/{self.explanation['id']}", "/otherwise/explanations/{id}"
        self.ask("GET", base, template)
        self.ask("GET", f"{base}/report.html", f"{template}/report.html")
        for kind in ("original", "counterfactual", "effect", "regions"):
            self.ask("GET", f"{base}/files/{self.explanation['files'][kind]}", f"{template}/files/{{name}}")

    @task(3)
    def classify(self) -> None:
        """As stock clients do."""
        query = {"image": self.draw.choice(self.images), "output": "json"}
        self.ask("POST", "/infer/classify", params=query, data={"params": "{}"})

    @task(3)
    def look_around(self) -> None:
        """What a client shows beside the image."""
        for address in ("/info/", "/otherwise/studies", "/otherwise/jobs", "/otherwise/concepts", "/otherwise/models"):
            self.ask("GET", address)
        self.ask("GET", "/datastore/", params={"output": "all"})

    @task(2)
    def ask_which_units_answer(self) -> None:
        """Of the strongest region, if any decided."""
        if self.explanation["regions"]:
            body = {"explanation": self.explanation["id"], "region": {"label": 1}}
            self.ask("POST", "/otherwise/concepts/query", json=body, allowed=(409, 503))  # not learned yet

    @task(1)
    def name_a_region(self) -> None:
        """Say what the strongest region is."""
        if self.explanation["regions"]:
            term = {"meaning": self.draw.choice(("spiculated", "circumscribed", "marker"))}
            body = {"kind": "name", "explanation": self.explanation["id"], "region": {"label": 1}, "term": term}
            self.ask("POST", "/otherwise/annotations", json=body)

    @task(1)
    def ask_for_the_next_question(self) -> None:
        """As Teach in Slicer does."""
        query = {"strategy": self.draw.choice(("random", "uncertainty", "influence"))}
        self.ask("GET", "/otherwise/concepts/questions", params=query, allowed=(409, 503))


@events.quitting.add_listener
def _report(environment: Any, **_: Any) -> None:
    """Write what was measured to the file that ``REPORT`` names."""
    entries = environment.stats.entries.values()
    report = {
        "refused": dict(REFUSED),
        "failures": [f"{error.name}: {error.error}" for error in environment.stats.errors.values()],
        "exceptions": [str(error["msg"]) for error in environment.runner.exceptions.values()],
        "waits": {
            entry.name: {
                "requests": entry.num_requests,
                "p50": entry.get_response_time_percentile(0.5) / 1000,
                "p99": entry.get_response_time_percentile(0.99) / 1000,
                "worst": entry.max_response_time / 1000,
            }
            for entry in entries
            if entry.num_requests
        },
    }
    Path(os.environ[REPORT]).write_text(json.dumps(report), encoding="utf-8")
