"""No request that the OpenAPI description allows makes the server fail, on our routes or MONAI Label's.

A few requests for each operation; many with ``OTHERWISE_SCHEMATHESIS=300 pytest tests/monailabel_app/test_openapi.py``.
"""

from __future__ import annotations

import os
import traceback
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import response_schema_conformance
from starlette.types import ASGIApp, Receive, Scope, Send

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support import app_in_process

if TYPE_CHECKING:
    from conftest import Running

EXAMPLES = int(os.environ.get("OTHERWISE_SCHEMATHESIS", "8"))
CHECKS = [not_a_server_error, response_schema_conformance]
PATIENCE = 120.0
"""Seconds for one answer. schemathesis gives up after ten, which a busy machine may take."""
ENDLESS = {"GET /otherwise/jobs/events": 10.0}
"""Seconds for which a stream without an end is read."""
KNOWN = {
    "image": "dark",
    "label": "dark",
    "id": "dark",
    "tag": "final",
    "model": "explain",
    "strategy": "random",
    "kind": "explain",
}
"""Of what there is: where only made-up names were asked for, every reply would be 404."""


@pytest.fixture(scope="module")
def api(app_class: Any, running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    root = tmp_path_factory.mktemp("described")
    for name, brightness in (("dark", 0.1), ("bright", 0.7)):
        noise = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
        image = Image(noise + np.float32(brightness), Geometry((8, 6, 1), np.eye(4)), name, 2)
        write_image(image, root / "studies" / f"{name}.nrrd")
    conf = {"state": str(root / "state"), "device": "cpu", "upload_mib": "1"}
    with (
        pytest.MonkeyPatch.context() as patch,
        app_in_process.open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, _),
    ):
        # What is asked for in the background would be a process of its own each time.
        patch.setattr("monailabel.utils.async_tasks.utils._task_func", lambda task, *rest: task.update(status="DONE"))
        explained = client.post("/infer/explain", params={"image": "dark"}, data={"params": "{}"})
        assert explained.status_code == 200
        label = {"label": ("a.nrrd", (root / "studies" / "dark.nrrd").read_bytes())}
        assert client.put("/datastore/label", params={"image": "dark"}, files=label).status_code == 200
        yield schemathesis.openapi.from_asgi("/openapi.json", _begun(client.app, client.headers["authorization"]))


def _begun(app: ASGIApp, authorization: str) -> ASGIApp:
    """The same server at loopback, which is told neither that it starts nor that it ends: the fixture does both."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            headers = [pair for pair in scope["headers"] if pair[0] not in (b"host", b"authorization")]
            headers.append((b"authorization", authorization.encode()))
            scope = {**scope, "server": ("127.0.0.1", 80), "headers": [*headers, (b"host", b"127.0.0.1")]}
            await app(scope, receive, send)
            return
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return

    return answer


@pytest.mark.long
def test_no_request_makes_the_server_fail(api: BaseSchema) -> None:
    failures, operations = [], [result.ok() for result in api.get_all_operations()]
    for operation in operations:
        try:
            _ask_often(operation)
        except (Exception, BaseExceptionGroup) as failure:
            failures.append(f"{operation.label}: {''.join(traceback.format_exception(failure))[-4000:]}")
    assert len(operations) > 50
    assert not failures, "\n\n".join(failures)


def test_events_of_a_job_are_as_described(api: BaseSchema) -> None:
    started = api["/otherwise/jobs"]["POST"].Case(body={"kind": "classify", "image": "dark"}).call()
    assert started.status_code == 202, started.text
    stream = api["/otherwise/jobs/{id}/events"]["GET"].Case(path_parameters={"id": started.json()["id"]})
    reply = stream.call_and_validate(checks=CHECKS, timeout=PATIENCE)
    assert "event: done" in reply.text
    assert '"state": "done"' in reply.text


def _ask_often(operation: APIOperation) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        for values in (case.path_parameters, case.query, case.body):
            _name_what_there_is(values, case.method)
        reply = case.call(timeout=ENDLESS.get(operation.label, PATIENCE))
        if reply.status_code != 503 or "retry-after" not in reply.headers:  # come again: that is an answer
            case.validate_response(reply, checks=CHECKS)
        if reply.status_code >= 400 and case.method != "HEAD":
            assert set(reply.json()) == {"error", "detail", "hint"}

    ask()


def _name_what_there_is(values: Any, method: str) -> None:
    """Replace every second made-up name by one that there is; nothing is deleted, as others ask for it."""
    if not isinstance(values, dict) or method == "DELETE":
        return
    for name in KNOWN.keys() & values.keys():
        if zlib.crc32(repr(values[name]).encode()) % 2:
            values[name] = KNOWN[name]
