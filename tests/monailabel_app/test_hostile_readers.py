"""Somebody who may only read cannot take the server from the others."""

from __future__ import annotations

import importlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from fastapi.testclient import TestClient

from otherwise.errors import OtherwiseError
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running


@pytest.fixture
def work_threads(app_class: Any) -> Any:
    return importlib.import_module("lib.http.work_threads").WorkThreads


@pytest.mark.anyio
async def test_one_users_slow_requests_leave_threads_for_others(work_threads: Any) -> None:
    import asyncio

    threads, go_on = work_threads("test", threads=2, per_user=2, waiting=1), threading.Event()
    slow = [asyncio.ensure_future(threads.run(lambda: go_on.wait(20), "greedy")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OtherwiseError) as caught:
        await threads.run(lambda: None, "greedy")
    assert (caught.value.status, caught.value.code) == (429, "busy")
    modest = asyncio.ensure_future(threads.run(lambda: "done", "modest"))
    await asyncio.sleep(0)
    go_on.set()
    assert await modest == "done"
    await asyncio.gather(*slow)
    assert await threads.run(lambda: "again", "greedy") == "again"


@pytest.mark.anyio
async def test_work_whose_client_has_left_keeps_its_place_until_it_ends(work_threads: Any) -> None:
    import asyncio

    threads, go_on, entered = work_threads("test", threads=1, per_user=1), threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        go_on.wait(20)

    left = asyncio.ensure_future(threads.run(slow, "greedy"))
    await asyncio.to_thread(entered.wait, 20)
    left.cancel()
    await asyncio.sleep(0)
    with pytest.raises(OtherwiseError):
        await threads.run(lambda: None, "greedy")
    go_on.set()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_whoever_has_nothing_waiting_is_let_in_beyond_the_limit(app_class: Any) -> None:
    module = importlib.import_module("lib.runtime.worker")
    worker, go_on, entered = module.Worker("test", waiting=4, waiting_per_user=4), threading.Event(), threading.Event()
    try:
        worker.submit(lambda cancelled: (entered.set(), go_on.wait(20)), user="first")
        assert entered.wait(20)
        for _ in range(4):
            worker.submit(lambda cancelled: None, user="greedy")
        with pytest.raises(OtherwiseError):
            worker.submit(lambda cancelled: None, user="greedy")
        for number in range(4):
            worker.submit(lambda cancelled: None, user=f"modest {number}")
        with pytest.raises(OtherwiseError):
            worker.submit(lambda cancelled: None, user="one too many")
    finally:
        go_on.set()
        worker.close()


def test_sixty_reads_during_an_explanation_leave_health_and_info_alone(running: Running) -> None:
    """What waits for memory, the device or a drawing does not take the threads by which everything else is answered."""
    with ThreadPoolExecutor(61) as clients, running.explainer.held():
        clients.submit(running.infer, "explain", image="dark", output="json")
        assert running.explainer.entered.wait(20)
        body = {"image": "dark", "region": {"polygon": [[0, 0, 0], [4, 0, 0], [0, 4, 0]]}}
        url = f"{running.url}/otherwise/concepts/query"
        queries = [clients.submit(requests.post, url, json=body, timeout=60) for _ in range(60)]
        for address in ("/info/", "/otherwise/health/ready", "/otherwise/health/live"):
            begun = time.monotonic()
            reply = running.get(address)
            assert reply.status_code == 200, reply.text
            assert time.monotonic() - begun < 5
        statuses = {query.result(60).status_code for query in queries}
    assert statuses <= {422, 429, 503}, "the fake agent has no units; nobody waits for the worker"


def test_streams_are_limited_for_each_user(running: Running) -> None:
    jobs = importlib.import_module("lib.routes.jobs")
    opened = []
    try:
        for _ in range(jobs.STREAMS_PER_USER):
            stream = requests.get(f"{running.url}/otherwise/jobs/events", stream=True, timeout=20)
            assert stream.status_code == 200
            opened.append(stream)
        end = time.monotonic() + 20
        while (reply := requests.get(f"{running.url}/otherwise/jobs/events", stream=True, timeout=20)).ok:
            opened.append(reply)  # a stream counts once its first piece is asked for
            assert time.monotonic() < end
        assert reply.status_code == 429
    finally:
        for stream in opened:
            stream.close()


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_pages_load_nothing_from_other_hosts_and_run_no_scripts(running: Running, address: str) -> None:
    reply = running.get(address)
    assert reply.status_code == 200
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert "<script" not in reply.text
    assert not re.search(r"""(src|href)\s*=(?!"#)|url\(|https?://""", reply.text), "links lead within the page only"
    assert "/otherwise/jobs" in reply.text


def test_an_error_sends_back_the_beginning_of_what_was_sent(running: Running) -> None:
    junk = {f"{number:06}" * 10: 1 for number in range(20_000)}
    for address, body in (
        ("/otherwise/jobs", {"image": "dark", "params": junk}),
        ("/otherwise/jobs", {"image": "dark", **junk}),
    ):
        reply = requests.post(running.url + address, json=body, timeout=20)
        assert reply.status_code in (413, 422), reply.status_code
        assert len(reply.text) < 3000


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        ("Start it with --origin URL.", "Ask the administrator of the server."),
        ("Choose one: otherwise studies FOLDER lists them.", "Ask the administrator of the server."),
        ("Crop it. Or give --limit waiting=9.", "Crop it."),
        ("Try again in 5 s.", "Try again in 5 s."),
        ("Otherwise try a smaller image.", "Otherwise try a smaller image."),
    ],
)
def test_hints_over_http_speak_of_no_command_line(app_class: Any, hint: str, message: str) -> None:
    assert importlib.import_module("lib.http.errors").hint_for_clients(hint) == message


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_told_as_such(app_class: Any, wrapped: bool) -> None:
    import errno

    errors = importlib.import_module("lib.http.errors")
    full: Exception = OSError(errno.ENOSPC, "No space left on device")
    if wrapped:
        from starlette.exceptions import HTTPException

        full, cause = HTTPException(400, "There was an error parsing the body"), full
        full.__cause__ = cause
    assert errors.reply_to(full).status_code == 507


def test_the_state_folder_is_closed_to_other_users(
    running: Running, app_class: Any, new_plane: Any, tmp_path: Path
) -> None:
    from otherwise.images.writing import write_image

    write_image(new_plane(1, 0.1), tmp_path / "studies" / "dark.nrrd")
    (tmp_path / "state").mkdir(mode=0o755)
    conf = {"state": str(tmp_path / "state"), "device": "cpu"}
    with open_app(app_class, tmp_path / "studies", conf, type(running.explainer)()) as (client, _):
        assert isinstance(client, TestClient)
        assert (tmp_path / "state").stat().st_mode & 0o007 == 0


def test_annotators_do_not_replace_each_others_labels(
    running: Running, app_class: Any, new_plane: Any, tmp_path: Path
) -> None:
    from otherwise.images.writing import write_image
    from otherwise.tokens import Role, add_token

    write_image(new_plane(1, 0.1), tmp_path / "studies" / "dark.nrrd")
    content = (tmp_path / "studies" / "dark.nrrd").read_bytes()
    people = {"Ann": Role.ANNOTATOR, "Ben": Role.ANNOTATOR, "Ada": Role.ADMIN}
    tokens = {name: add_token(tmp_path / "tokens.txt", name, role) for name, role in people.items()}
    conf = {"state": str(tmp_path / "state"), "device": "cpu", "tokens": str(tmp_path / "tokens.txt")}
    with open_app(app_class, tmp_path / "studies", conf, type(running.explainer)()) as (client, _):

        def ask(name: str, method: str, address: str, **more: Any) -> int:
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            return int(client.request(method, address, headers=headers, **more).status_code)

        def save(name: str, **form: str) -> int:
            files = {"label": ("a.nrrd", content)}
            return ask(name, "PUT", "/datastore/label", params={"image": "dark"}, files=files, data=form)

        def note(name: str) -> int:
            label = {"label": "dark", "tag": "final"}
            return ask(name, "PUT", "/datastore/label/info", params=label, data={"info": '{"a": 1}'})

        assert [save("Ann"), save("Ben"), save("Ben", params='{"saved_by": "Ben"}')] == [200, 403, 403]
        assert [save("Ann"), note("Ben"), note("Ann")] == [200, 403, 200]
        status = client.get("/datastore/", headers={"Authorization": f"Bearer {tokens['Ada']}"}).json()
        assert status["completed"] == 1
        assert ask("Ada", "DELETE", "/datastore/label", params={"id": "dark", "tag": "final"}) == 200
        status = client.get("/datastore/", headers={"Authorization": f"Bearer {tokens['Ada']}"}).json()
        assert status["completed"] == 0
        assert status["label_tags"] == {}
        (tmp_path / "tokens.txt").rename(tmp_path / "gone")
        assert client.get("/otherwise/health/ready").status_code == 503


def test_bodies_of_many_values_are_refused_before_they_are_parsed(running: Running) -> None:
    """Parsing them keeps everybody waiting; as many bytes in one text do not."""
    headers = {"Content-Type": "application/json"}
    many = "{" + ", ".join(f'"key{number}": 1' for number in range(50_000)) + "}"
    nested = "[" * 400_000 + "]" * 400_000
    for address in ("/otherwise/jobs", "/otherwise/annotations", "/otherwise/concepts/query"):
        for body in (many, nested):
            reply = requests.post(running.url + address, data=body, headers=headers, timeout=20)
            assert (reply.status_code, reply.json()["error"]) == (413, "too-large"), address
    listed = json.dumps({"a": [[]] * 300_000}).replace(" ", "")
    for form in ({"data": {"params": listed}}, {"files": {"params": (None, listed)}}):
        reply = requests.post(f"{running.url}/infer/classify?image=dark", timeout=20, **form)
        assert (reply.status_code, reply.json()["error"]) == (413, "too-large"), "JSON within a form"
    text = {"image": "dark", "region": {"mask": "x" * 700_000}}
    assert requests.post(f"{running.url}/otherwise/concepts/query", json=text, timeout=20).status_code == 422


@pytest.fixture
def small_text(app_class: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of bodies below that of uploads, which is a mebibyte here."""
    monkeypatch.setattr(importlib.import_module("lib.http.body_limits"), "MOST_TEXT", 2**18)
    return 2**18


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Form-Data", "multipart/form-data"])
def test_a_body_is_no_upload_because_it_is_called_one(running: Running, small_text: int, kind: str) -> None:
    """Routes that take no files hold their whole body in memory: a gigabyte each, eight at once."""
    headers = {"Content-Type": kind}
    for address in ("/otherwise/jobs", "/otherwise/annotations", "/otherwise/concepts/query", "/train/agent"):
        reply = requests.post(running.url + address, data=b"a" * (2 * small_text), headers=headers, timeout=20)
        assert (reply.status_code, reply.json()["error"]) == (413, "too-large"), address
        many = b"[" + b"[]," * 50_000 + b"0]"
        reply = requests.post(running.url + address, data=many, headers=headers, timeout=20)
        assert (reply.status_code, reply.json()["error"]) == (413, "too-large"), address


@pytest.mark.parametrize(
    ("method", "address", "field", "status"),
    [
        ("PUT", "/session/", "files", 200),
        ("PUT", "/datastore/image?image=dark", "file", 409),
        ("PUT", "/datastore/label?image=unknown", "label", 404),
        ("POST", "/infer/classify", "file", 422),
    ],
)
def test_routes_that_take_files_take_larger_ones(
    running: Running, small_text: int, method: str, address: str, field: str, status: int
) -> None:
    """They say what is wrong with a file, or take it, but do not call it too large."""
    files = {field: ("a.nrrd", b"a" * (2 * small_text))}
    reply = requests.request(method, running.url + address, files=files, timeout=20)
    assert reply.status_code == status, reply.text


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_lets_a_windows_events_through_at_once_and_then_its_rate(app_class: Any) -> None:
    clock = Clock()
    pace = importlib.import_module("lib.runtime.pace").Pace(rate=2, window=10, clock=clock)
    assert [pace.ask("greedy") for _ in range(20)] == [0.0] * 20
    assert pace.ask("greedy") == pytest.approx(0.5)
    assert pace.ask("greedy") == pytest.approx(0.5), "what is refused is not counted"
    assert pace.ask("modest") == 0
    clock.now += 0.5
    assert [pace.ask("greedy"), pace.ask("greedy")] == pytest.approx([0.0, 0.5])
    clock.now += 3600
    assert sum(pace.ask("greedy") == 0 for _ in range(100)) == 20


def test_a_pace_forgets_users_who_have_not_asked_for_a_while(app_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, clock = importlib.import_module("lib.runtime.pace"), Clock()
    monkeypatch.setattr(module, "MOST_USERS", 100)
    pace = module.Pace(rate=2, window=10, clock=clock)
    for number in range(1000):
        clock.now += 1
        pace.ask(f"user {number}")
    assert len(pace._used) <= 101


def test_refusals_of_one_user_come_at_their_pace_and_answers_at_once(app_class: Any) -> None:
    clock = Clock()
    pace = importlib.import_module("lib.runtime.pace").Pace(rate=2, window=5, clock=clock)
    delays = [pace.count("greedy", most=3) for _ in range(30)]
    assert delays[:10] == [0.0] * 10
    assert delays[10:16] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    assert delays[16:] == pytest.approx([3.0] * 14)
    assert pace.count("modest", most=3) == 0
    clock.now += 8
    assert pace.count("greedy", most=3) == 0


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "held"), [(200, False), (404, True), (429, True), (503, False)])
async def test_only_refusals_are_held_back(
    app_class: Any, monkeypatch: pytest.MonkeyPatch, status: int, held: bool
) -> None:
    rates = importlib.import_module("lib.http.rates")
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(rates.asyncio, "sleep", sleep)
    delay = rates.RefusalDelay(answer)
    at_once = int(rates.REFUSALS * rates.REFUSALS_WINDOW_SECONDS)
    for number in range(at_once + 1):
        assert not slept, number
        await delay({"type": "http", "state": {"user": "greedy"}, "headers": []}, None, send)
    assert bool(slept) == held
    assert len(sent) == 2 * (at_once + 1), "nothing is lost"
    monkeypatch.setattr(rates, "MOST_HELD", 0)
    await delay({"type": "http", "state": {"user": "greedy"}, "headers": []}, None, send)
    assert len(slept) == held, "held answers take bounded room"
