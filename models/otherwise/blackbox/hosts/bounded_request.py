"""Send an HTTP request with limits on time and on the size of the reply."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

MOST_BYTES = 64 * 1024 * 1024
"""Largest reply in bytes, unpacked. A thousand images with a thousand classes take 20 MiB as JSON."""
CONNECT_SECONDS = 5.0
_PIECE = 64 * 1024


class TooLongReplyError(requests.RequestException):
    """A reply exceeds its limit."""


def bounded_request(
    method: str, address: str, content: Any | None, timeout: float, most: int = MOST_BYTES
) -> tuple[int, bytes]:
    """Send a request and return the status and the whole body of the reply.

    ``requests`` limits only the time between two bytes, so the socket is shut at the deadline. Redirects are not
    followed: an image goes to the named server only.

    Args:
        method: GET or POST.
        address: URL.
        content: Body, sent as JSON; None: no body.
        timeout: Seconds for the whole exchange once connected.
        most: Largest body in bytes, unpacked.

    Raises:
        requests.Timeout: if the time is exceeded.
        TooLongReplyError: if the body is longer.
        requests.RequestException: if there is no connection, or it breaks.
    """
    adapter = _ShutAtDeadline()
    over = threading.Event()

    def end() -> None:
        over.set()
        adapter.shut()

    watch = threading.Timer(timeout, end)
    watch.daemon = True
    with requests.Session() as session:
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        watch.start()
        try:
            limits = (min(CONNECT_SECONDS, timeout), timeout)
            options: dict[str, Any] = {"timeout": limits, "allow_redirects": False, "stream": True}
            with session.request(method, address, json=content, **options) as reply:
                body = bytearray()
                for piece in reply.iter_content(_PIECE):
                    body += piece
                    if len(body) > most:
                        raise TooLongReplyError(f"more than {most} bytes")
                if over.is_set():  # a cut body without a length looks complete
                    raise requests.ReadTimeout
                return reply.status_code, bytes(body)
        except TooLongReplyError:
            raise
        except requests.RequestException as error:
            if over.is_set():
                raise requests.ReadTimeout from error
            raise
        finally:
            watch.cancel()


class _ShutAtDeadline(HTTPAdapter):
    """Adapter that keeps the sockets of its connections, to shut them at the deadline."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._sockets: list[socket.socket] = []
        self.poolmanager.pool_classes_by_scheme = {
            "http": _remembering(HTTPConnectionPool, self._sockets),
            "https": _remembering(HTTPSConnectionPool, self._sockets),
        }

    def shut(self) -> None:
        """End every exchange in progress."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _remembering(pool: type[HTTPConnectionPool], sockets: list[socket.socket]) -> type[HTTPConnectionPool]:
    class Connection(pool.ConnectionCls):  # type: ignore[name-defined]
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
