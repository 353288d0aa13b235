"""Health, metrics and logs of a server that somebody else has to keep running."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families
from timeloop import Timeloop

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running


@pytest.fixture
def server(running: Running, app_class: Any, tmp_path: Path) -> Iterator[tuple[TestClient, Any]]:
    array = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
    image = Image(array, Geometry((8, 6, 1), np.eye(4)), dimension=2)
    write_image(image, tmp_path / "studies" / "dark.nrrd")
    conf = {"state": str(tmp_path / "state"), "device": "cpu"}
    with open_app(app_class, tmp_path / "studies", conf, type(running.explainer)()) as made:
        yield made


def figures(client: TestClient) -> dict[str, float]:
    """Every sample that the server tells, by name and labels."""
    reply = client.get("/otherwise/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain")
    return {
        " ".join([sample.name, *(f"{key}={sample.labels[key]}" for key in sorted(sample.labels) if key != "le")]): (
            sample.value
        )
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_a_server_that_can_work_is_ready(server: tuple[TestClient, Any]) -> None:
    client, _ = server

    assert client.get("/otherwise/health/live").json() == {"status": "live"}
    assert client.get("/otherwise/health/ready").json() == {"status": "ready", "reasons": []}


def test_a_state_folder_that_is_gone_is_told(server: tuple[TestClient, Any]) -> None:
    client, app = server
    shutil.rmtree(app.options.state)

    reply = client.get("/otherwise/health/ready")

    assert reply.status_code == 503
    assert "The state folder takes no files." in reply.json()["reasons"]
    assert client.get("/otherwise/health/live").status_code == 200, "a new start would not help"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_database_that_is_away_is_told(server: tuple[TestClient, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, app = server
    health = importlib.import_module("lib.observability.health")
    monkeypatch.setattr(health, "SECONDS", 0.1)
    go_on = threading.Event()
    hanging = health.Health(app.host, app.options.state, lambda: go_on.wait(10))
    failing = health.Health(app.host, app.options.state, lambda: 1 / 0)

    for away in (hanging, failing):
        assert await away.reasons() == ["The database does not answer."]
    go_on.set()


def test_a_worker_that_takes_nothing_is_told(server: tuple[TestClient, Any]) -> None:
    client, app = server
    app.host.worker.close()

    assert client.get("/otherwise/health/ready").json()["reasons"] == ["The worker takes no jobs."]
    assert figures(client)["otherwise_worker_alive"] == 0


def test_requests_are_counted_by_template_and_never_by_name(server: tuple[TestClient, Any]) -> None:
    client, _ = server
    for name in ("Mueller", "Meier"):
        client.get(f"/otherwise/explanations/{name}")
        client.get("/datastore/image/info", params={"image": name})
        client.get(f"/{name}")

    counted = figures(client)

    count = "otherwise_request_seconds_count"
    assert counted[f"{count} method=GET route=/otherwise/explanations/{{id}} status=404"] == 2
    assert counted[f"{count} method=GET route=- status=404"] == 2
    assert not any("Mueller" in name for name in counted)


def test_jobs_are_counted_with_their_stages_and_how_they_end(server: tuple[TestClient, Any]) -> None:
    client, app = server

    assert client.post("/infer/explain", params={"image": "dark"}).status_code == 200
    with app.host.explainer.failing(ImageError("No.", "No.")):
        assert client.post("/infer/explain", params={"image": "dark"}).status_code == 422

    counted = figures(client)
    assert counted["otherwise_job_seconds_count kind=explain outcome=done"] == 1
    assert counted["otherwise_job_seconds_count kind=explain outcome=image"] == 1
    assert counted["otherwise_job_stage_seconds_count kind=explain stage=search"] == 1
    assert counted["otherwise_explanations_total valid=true"] == 1
    assert (counted["otherwise_worker_waiting"], counted["otherwise_worker_running"]) == (0, 0)
    assert counted["otherwise_jobs state=cached"] == 0
    assert counted["process_resident_memory_bytes"] > 1e7
    assert counted["otherwise_state_free_bytes"] > 0


def test_each_answer_has_an_id_by_which_the_log_is_found(server: tuple[TestClient, Any], logged: list[str]) -> None:
    client, app = server
    with app.host.explainer.failing(RuntimeError("Anna Sentinel, born 1950")):
        reply = client.post("/infer/explain", params={"image": "dark"})

    assert reply.status_code == 500
    id = reply.headers["X-Request-ID"]
    assert id in reply.json()["detail"]
    failed, answered = (json.loads(line) for line in logged if id in line)
    assert failed["exception"][0].strip() == "Traceback of builtins.RuntimeError"
    assert any("in classify" in line for line in failed["exception"])
    assert answered["route"] == "/infer/{model}"
    assert "Sentinel" not in "".join(logged)


@pytest.fixture
def logged(app_class: Any) -> Iterator[list[str]]:
    """What the server's own loggers write, as JSON."""
    logs = importlib.import_module("lib.observability.logs")
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, ours = Kept(), logging.getLogger("lib")
    handler.setFormatter(logs.JsonFormatter())
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    yield lines
    ours.removeHandler(handler)
    ours.setLevel(level)


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    try:
        if error:
            raise error
        found = None
    except BaseException:
        found = sys.exc_info()
    return logging.LogRecord("lib", logging.ERROR, __file__, 1, message, (), found)


@given(some.text())
def test_an_event_is_one_line_whatever_it_quotes(running: Running, words: str) -> None:
    logs = importlib.import_module("lib.observability.logs")

    assert len(logs.TextFormatter().format(record(words)).splitlines()) == 1
    assert isinstance(json.loads(logs.JsonFormatter().format(record(words))), dict)


@pytest.mark.parametrize("formatter", ["TextFormatter", "JsonFormatter"])
def test_of_an_exception_only_words_about_code_are_kept(running: Running, formatter: str) -> None:
    form = getattr(importlib.import_module("lib.observability.logs"), formatter)().format
    cause = ValueError("Sentinel")
    for error in (cause, OSError(28, "No space left", "/data/Sentinel"), KeyError("Sentinel")):
        line = form(record("x", error))
        assert "Sentinel" not in line
        assert type(error).__name__ in line
    assert "No space left" in form(record("x", OSError(28, "No space left", "/data/Sentinel")))
    assert "unsupported operand" in form(record("x", TypeError("unsupported operand")))


def test_the_scheduler_of_monai_label_announces_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("lib.observability.logs").quieten()
    loop = Timeloop()  # as MONAI Label makes one when it has started: it adds a handler of its own
    loop.job(timedelta(hours=1))(print)
    loop.start()
    loop.stop()
    assert "".join(capfd.readouterr()) == ""
