"""A model server that never comes to an end is left in time, whatever part of its reply has no end."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import requests

from otherwise.blackbox.hosts.bounded_request import TooLongReplyError, bounded_request

HEAD = b"HTTP/1.1 200 OK\r\n"
Reply = Callable[[Callable[[bytes], None], threading.Event], None]


@contextmanager
def replies(reply: Reply) -> Iterator[str]:
    """A server that answers one request, with whatever ``reply`` sends."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            connection, _ = door.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                reply(connection.sendall, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}/v2/models/m"
        finally:
            over.set()
            thread.join()


def drip(first: bytes, piece: bytes) -> Reply:
    """Begin, and go on with a little every now and then, so that no time-out between two bytes is met."""

    def reply(send: Callable[[bytes], None], over: threading.Event) -> None:
        send(first)
        while not over.wait(0.05):
            send(piece)

    return reply


def flood(first: bytes, piece: bytes) -> Reply:
    def reply(send: Callable[[bytes], None], over: threading.Event) -> None:
        send(first)
        while not over.is_set():
            send(piece)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        drip(HEAD, b"x"),
        drip(HEAD, b"X-More: x\r\n"),
        drip(HEAD + b"\r\n", b"x"),
        drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["status line", "headers", "body", "body of a length", "chunks", "size of a chunk"],
)
def test_a_reply_that_drips_ends_at_the_deadline(reply: Reply) -> None:
    begin = time.monotonic()
    with replies(reply) as address, pytest.raises(requests.RequestException):
        bounded_request("GET", address, None, timeout=0.5)

    assert time.monotonic() - begin < 5


ZEROS = gzip.compress(bytes(64 * 1024 * 1024))


@pytest.mark.parametrize(
    "reply",
    [
        flood(HEAD + b"\r\n", b"[" * 65536),
        flood(HEAD + b"Content-Length: 1000000000000\r\n\r\n", b"[" * 65536),
        flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"[" * 65536 + b"\r\n"),
        lambda send, over: send(HEAD + b"Content-Encoding: gzip\r\n\r\n" + ZEROS),
    ],
    ids=["body", "body of a length", "chunks", "packed"],
)
def test_a_reply_that_floods_takes_little_memory(reply: Reply) -> None:
    tracemalloc.start()
    try:
        with replies(reply) as address, pytest.raises(TooLongReplyError, match="more than 1048576 bytes"):
            bounded_request("GET", address, None, timeout=30, most=2**20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 * 2**20


def test_a_whole_reply_is_returned_and_no_thread_is_left() -> None:
    body = json.dumps({"outputs": [1.5]}).encode()
    before = threading.active_count()
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with replies(lambda send, over: send(whole)) as address:
        assert bounded_request("POST", address, {"inputs": []}, timeout=30) == (200, body)

    assert threading.active_count() <= before + 1  # a timer that was cancelled is about to end


def test_a_redirection_is_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    with replies(lambda send, over: send(moved)) as address:
        assert bounded_request("GET", address, None, timeout=30)[0] == 302
