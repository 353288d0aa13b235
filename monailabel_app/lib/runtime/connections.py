"""Limits of connections: of their time, of their number for each address, and of the time to parse their bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from lib.runtime.pace import Pace

HEAD_SECONDS = 20.0
"""From the first moment of a connection, or the end of its last answer, to the end of a request's head."""
BODY_SECONDS = 60.0
"""Between two pieces of a request's body."""
PER_CLIENT = 128
"""Connections of one address at the same time: browsers use six, Slicer a few."""
CONNECTIONS_PER_SECOND = 50.0
"""New connections of one address a second on average; those of four seconds may come at once."""
ANSWER_SECONDS = 30.0
ANSWER_BYTES = 16 * 1024
"""A client has to take so much of an answer in ``ANSWER_SECONDS``."""
MARGIN = 64
"""File descriptors that are left for files."""

PARSE_SHARE = 0.1
"""Share of one processor that parsing the bytes of one address may take: hundreds of MiB a second of an image, but few
of chunks of one byte each."""
PARSE_WINDOW_SECONDS = 5.0
MOST_REST = 1.0
"""Seconds that a connection is not read at once because its address has used up its share."""
TURN_SECONDS = 0.002
"""A piece of a connection's bytes should take about so long, then others have their turn."""
LEAST_PIECE, MOST_PIECE = 1024, 64 * 1024


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol with limits for each client: of time for a request, of connections, and of parsing.

    Uvicorn itself waits for ever for a request to be completed, so that a few hundred half-open connections take all
    file descriptors of the process. It parses all that has arrived in one piece, which takes long if it consists of
    tens of thousands of chunks or headers.
    """

    _clients: ClassVar[Counter[str]] = Counter()
    _opened: ClassVar[Pace] = Pace(CONNECTIONS_PER_SECOND, 4.0)
    _parsed: ClassVar[Pace] = Pace(PARSE_SHARE, PARSE_WINDOW_SECONDS)
    _all = 0
    most = 4096
    """Connections of all addresses together; set by ``bound_connections``."""
    _proxies: ClassVar[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = ()

    @classmethod
    def trust(cls, proxies: Iterable[str]) -> None:
        """Do not limit connections of reverse proxies, which carry requests of many people.

        Args:
            proxies: IP addresses or networks.
        """
        cls._proxies = tuple(ipaddress.ip_network(each) for each in proxies)

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or close it if its address, or all addresses together, have too many."""
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._unread, self._resting, self._piece = bytearray(), False, LEAST_PIECE
        super().connection_made(transport)
        host = self.client[0] if self.client else "local"
        cls = PatientProtocol
        self._limited = not cls._is_proxy(host)
        too_many = self._limited and (cls._clients[host] >= PER_CLIENT or cls._opened.ask(host) > 0)
        if cls._all >= cls.most or too_many:
            transport.abort()
            return
        self._address = host
        cls._clients[host] += 1
        cls._all += 1
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's place."""
        self._stop_timer()
        self._stop_answer_timer()
        self._unread.clear()
        if self._address:
            cls = PatientProtocol
            cls._all -= 1
            cls._clients[self._address] -= 1
            if not cls._clients[self._address]:
                del cls._clients[self._address]
            self._address = ""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Accept bytes, and parse them in pieces between which other connections are served."""
        self._unread += data
        if self._resting:
            self.transport.pause_reading()  # uvicorn may have resumed it
        else:
            self._read()

    def _read(self) -> None:
        self._resting = False
        while self._unread and not self.transport.is_closing():
            piece = bytes(self._unread[: self._piece])
            del self._unread[: self._piece]
            begun = time.thread_time()
            self._parse(piece)
            seconds = time.thread_time() - begun
            self._piece = min(2 * self._piece, MOST_PIECE) if seconds < TURN_SECONDS else LEAST_PIECE
            rest = PatientProtocol._parsed.count(self._address, MOST_REST, seconds) if self._limited else 0.0
            if rest or (seconds > TURN_SECONDS and self._unread):
                self._resting = True
                self.transport.pause_reading()
                self.loop.call_later(rest, self._read)
                return
        if not self.flow.read_paused:
            self.transport.resume_reading()

    def _parse(self, data: bytes) -> None:
        """Parse bytes; a head has to end in time as a whole, a body has to go on."""
        inside_body = self._receives_body()
        super().data_received(data)
        if self._receives_body():
            self._expect(BODY_SECONDS)
        elif self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()  # the request is whole; how long the answer takes is ours to decide
        elif inside_body:
            self._expect(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next request of the connection."""
        super().on_response_complete()
        if self._timer is None:
            self._expect(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Wait until the client has read what was sent; it is closed if it stops reading."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Stop the timer of a slow reader."""
        super().resume_writing()
        self._stop_answer_timer()

    def _expect_reading(self) -> None:
        left = self.transport.get_write_buffer_size() - ANSWER_BYTES
        self._answer_timer = self.loop.call_later(ANSWER_SECONDS, self._refuse_slow_reader, left)

    def _refuse_slow_reader(self, most: int) -> None:
        if self.transport.get_write_buffer_size() > most:
            self.transport.abort()
        else:
            self._expect_reading()

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    @classmethod
    def _is_proxy(cls, host: str) -> bool:
        with suppress(ValueError):
            return any(ipaddress.ip_address(host) in network for network in cls._proxies)
        return False

    def _receives_body(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and bool(self.cycle.more_body)

    def _expect(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.abort()


def bound_connections() -> int:
    """Raise the process's limit of file descriptors as far as it may, and take no more connections than fit.

    Returns:
        The most connections.
    """
    try:
        import resource
    except ImportError:  # Windows
        return PatientProtocol.most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PatientProtocol.most + 1024
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        soft = enough
    if soft != resource.RLIM_INFINITY:
        PatientProtocol.most = max(16, min(PatientProtocol.most, soft - MARGIN - soft // 4))
    return PatientProtocol.most
