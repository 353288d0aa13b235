"""One stream tells of all of somebody's jobs; nobody is told of another's."""

from __future__ import annotations

import importlib
import json
import socket
import threading
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from conftest import Running

HEARTBEAT = 0.3


class Role(IntEnum):
    READER = 1
    ADMIN = 3


class Known:
    """A middleware that believes what the header says."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        user = dict(scope.get("headers", [])).get(b"x-user", b"").decode()
        scope.setdefault("state", {}).update(user=user, role=Role.ADMIN if user == "admin" else Role.READER)
        await self.app(scope, receive, send)


class Client:
    """Somebody who logs in, or nobody."""

    def __init__(self, url: str, user: str = "") -> None:
        self.url, self.headers = url, {"X-User": user}

    def ask(self, method: str, address: str, **arguments: Any) -> requests.Response:
        url = f"{self.url}/otherwise/jobs{address}"
        return requests.request(method, url, headers=self.headers, timeout=20, **arguments)

    def start(self, seed: int) -> str:
        reply = self.ask("POST", "", json={"image": "dark", "params": {"seed": seed}})
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def ids(self, query: str = "") -> set[str]:
        return {job["id"] for job in self.ask("GET", query).json()}

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Events and, as ``("", {})``, comments."""
        with self.ask("GET", "/events", stream=True) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            event = ""
            for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
                if line == ": keep-alive":
                    yield "", {}
                elif line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield event, json.loads(line.removeprefix("data: "))


@pytest.fixture
def url(running: Running) -> Iterator[str]:
    """The same jobs behind a server at which people log in, and that lets its heart be heard often."""
    routes = importlib.import_module("lib.routes.jobs")
    threads = importlib.import_module("lib.http.work_threads").WorkThreads("reading", 4, 4)
    app = FastAPI()
    route = importlib.import_module("lib.http.errors").route_class(1024)
    assert issubclass(route, APIRoute)
    app.include_router(routes.jobs_router(running.app.jobs, threads, route, HEARTBEAT))
    app.add_middleware(Known)
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    door.close()


def test_one_stream_tells_of_all_jobs_of_one_user(running: Running, url: str) -> None:
    anna, ben = Client(url, "anna"), Client(url, "ben")
    with running.explainer.held():
        before = anna.start(2001)
        assert running.explainer.entered.wait(10)
        others = ben.start(2002)
        events = anna.events()
        assert next(events) == (
            "running",
            anna.ask("GET", f"/{before}").json() | {"seconds_left": pytest.approx(0, abs=60)},
        )
        after = anna.start(2003)
        states = {after: [next(event for event, job in events if job.get("id") == after)]}
    while not all(states.get(id, [""])[-1] == "done" for id in (before, after)):
        event, job = next(events)
        if event:
            assert job["user"] == "anna"
            assert job["state"] == event
            states.setdefault(job["id"], []).append(event)
    assert states[after][0] == "queued"
    assert others not in states


def test_without_news_the_stream_says_that_it_lives(running: Running, url: str) -> None:
    events = Client(url, "cleo").events()
    assert [next(events), next(events)] == [("", {}), ("", {})]


def test_nobody_sees_anothers_jobs_but_administrators(running: Running, url: str) -> None:
    anna, ben, admin = (Client(url, name) for name in ("anna", "ben", "admin"))
    mine, yours = anna.start(2004), ben.start(2004)

    assert mine in anna.ids()
    assert yours not in anna.ids()
    assert {mine, yours} <= admin.ids()
    assert not {mine, yours} & admin.ids("?mine=true")
    for method, address in (("GET", ""), ("GET", "/events"), ("DELETE", ""), ("POST", "/repeat")):
        assert anna.ask(method, f"/{yours}{address}").status_code == 404
        assert set(anna.ask(method, f"/{yours}{address}").json()) == {"error", "detail", "hint"}
    assert {mine, yours} <= Client(url).ids(), "where nobody logs in, everybody sees all"


def test_the_list_is_of_some_states(running: Running, url: str) -> None:
    anna = Client(url, "anna")
    with running.explainer.held():
        runs = anna.start(2005)
        assert running.explainer.entered.wait(10)
        waits = anna.start(2006)
        assert (runs in anna.ids("?state=running"), waits in anna.ids("?state=running")) == (True, False)
        assert {runs, waits} <= anna.ids("?mine=true&state=running&state=queued")
        assert not {runs, waits} & anna.ids("?state=done")
        assert anna.ask("GET", "?state=asleep").status_code == 422
        for id in (waits, runs):
            anna.ask("DELETE", f"/{id}")
