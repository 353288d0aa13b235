"""One client's connections cannot take the server from the others, whatever bytes they carry."""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
import uvicorn

from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from conftest import Running

LARGE = 8 * 2**20


@pytest.fixture
def patient(app_class: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server with our protocol and short limits, whose only answer is how many bytes it was sent."""
    connections = importlib.import_module("lib.runtime.connections")
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(connections, "PER_CLIENT", 20)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    door = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=connections.PatientProtocol, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    yield door.getsockname()[:2]
    server.should_exit = server.force_exit = True  # a flood that is not parsed yet is not waited for
    thread.join(10)
    door.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
    ],
)
def test_a_connection_that_says_nothing_more_is_closed(patient: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(patient) as client:
        client.settimeout(10)
        client.sendall(sent)
        with contextlib.suppress(ConnectionError):
            assert client.recv(100) == b""


def test_a_request_that_goes_on_slowly_is_answered(patient: tuple[str, int]) -> None:
    with socket.create_connection(patient) as client:
        client.settimeout(10)
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            time.sleep(0.2)
            client.sendall(b"x")
        answer = b""
        while not answer.endswith(b"6\r\n0\r\n\r\n"):
            piece = client.recv(1000)
            assert piece, answer
            answer += piece
    assert b"200 OK" in answer


def test_one_address_cannot_take_all_connections(patient: tuple[str, int]) -> None:
    held = [socket.create_connection(patient) for _ in range(40)]
    try:
        refused = 0
        for client in held:
            client.settimeout(0.1)
            try:
                refused += client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                refused += 1
        assert refused >= 20
    finally:
        for client in held:
            client.close()


def answer_of(client: socket.socket) -> bytes:
    """Read until the server has answered, or closes the connection."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while not answer.endswith(b"0\r\n\r\n"):
            piece = client.recv(1000)
            if not piece:
                break
            answer += piece
    return answer


def test_bytes_that_take_long_to_parse_hold_nobody_up(
    patient: tuple[str, int], app_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of one byte each take microseconds each, and tens of thousands of them arrive together."""
    connections, pace = importlib.import_module("lib.runtime.connections"), importlib.import_module("lib.runtime.pace")
    monkeypatch.setattr(connections.PatientProtocol, "_parsed", pace.Pace(rate=0.01, window=0.01))
    flood = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000
    with socket.create_connection(patient) as slow, socket.create_connection(patient) as other:
        slow.sendall(flood)
        slow.settimeout(0.05)
        other.settimeout(20)
        other.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in answer_of(other)
        with contextlib.suppress(TimeoutError, ConnectionError):
            assert slow.recv(10) == b"", "the flood has not been parsed yet"


def test_chunks_of_a_usual_size_are_read_whole(patient: tuple[str, int]) -> None:
    with socket.create_connection(patient) as client:
        client.settimeout(30)
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            client.sendall(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert str(100 * 0x8000).encode() in answer_of(client)


def test_one_address_cannot_open_connections_without_end(
    patient: tuple[str, int], app_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections, pace = importlib.import_module("lib.runtime.connections"), importlib.import_module("lib.runtime.pace")
    monkeypatch.setattr(connections.PatientProtocol, "_opened", pace.Pace(rate=0.001, window=5000))
    answers = []
    for _ in range(8):
        with socket.create_connection(patient) as client:
            client.settimeout(20)
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answers.append(b"200 OK" in answer_of(client))
    assert answers == [True] * 5 + [False] * 3


def test_a_client_that_does_not_take_its_answer_is_left(app_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = importlib.import_module("lib.runtime.connections")
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.2)

    class Transport:
        left, aborted = LARGE, False

        def get_write_buffer_size(self) -> int:
            return self.left

        def abort(self) -> None:
            self.aborted = True

    class Loop:
        def call_later(self, seconds: float, call: Any, *arguments: Any) -> Any:
            self.again = lambda: call(*arguments)
            return self

        def cancel(self) -> None:
            self.again = lambda: None

    protocol = object.__new__(connections.PatientProtocol)
    protocol.transport, protocol.loop = transport, loop = Transport(), Loop()
    protocol._expect_reading()
    for _ in range(20):
        transport.left -= connections.ANSWER_BYTES
        loop.again()
        assert not transport.aborted, "it is slow, and goes on"
    transport.left -= 1
    loop.again()
    assert transport.aborted


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("/info/", {f"X-{number}": "a" for number in range(120)}, 431),
        ("/" + "a/" * 3000, {}, 414),
        ("/otherwise/jobs?" + "a=1&" * 1100, {}, 414),
        ("/otherwise/jobs?a=" + "1" * 17_000, {}, 414),
    ],
)
def test_long_heads_are_refused(running: Running, address: str, headers: dict[str, str], status: int) -> None:
    reply = requests.get(running.url + address, headers=headers, timeout=20)
    assert (reply.status_code, reply.json()["error"]) == (status, "too-large")


def test_cookies_of_others_are_not_looked_at(app_class: Any) -> None:
    """Python unquotes them in quadratic time, which is a minute for 64 KiB of backslashes."""
    module = importlib.import_module("lib.http.address_token")
    scope = {"type": "http", "server": ("127.0.0.1", 8000), "headers": [(b"host", b"x")]}
    cookie = b'a="' + b'\\"' * 30_000 + b'"; otherwise-8000=secret ; b=c'
    scope["headers"].append((b"cookie", cookie))  # type: ignore[attr-defined]
    begun = time.monotonic()
    assert module.cookie_token(scope, module.Headers(scope=scope)) == "secret"
    assert module.without_cookies(scope)["headers"] == [(b"host", b"x")]
    assert time.monotonic() - begun < 1


def test_nothing_is_resolved_anew_at_each_request(running: Running) -> None:
    """FastAPI makes all dependencies of a route anew at each request if any is overridden: milliseconds of the loop."""
    from monailabel.app import app as server

    assert not server.dependency_overrides


def test_uploads_of_one_user_are_limited_and_leave_room_on_the_disk(
    running: Running, app_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, disk = (importlib.import_module(f"lib.{name}") for name in ("http.body_limits", "storage.disk"))
    uploads = limits.Uploads()
    with contextlib.ExitStack() as under_way:
        for _ in range(limits.UPLOADS_PER_USER):
            under_way.enter_context(uploads.count("greedy"))
        with pytest.raises(OtherwiseError) as caught:
            under_way.enter_context(uploads.count("greedy"))
        assert caught.value.status == 429
        under_way.enter_context(uploads.count("modest"))
    assert not uploads._users

    monkeypatch.setattr(disk, "LEAST_FREE", 2**62)
    monkeypatch.setattr(disk, "LEAST_FREE_SHARE", 1.0)
    reply = requests.post(f"{running.url}/infer/classify", files={"file": ("a.nii", b"x" * 1000)}, timeout=20)
    assert (reply.status_code, reply.json()["error"]) == (507, "storage")
    assert running.get("/info/").status_code == 200
