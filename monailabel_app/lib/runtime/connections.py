"""Connections that do not say what they want are closed, and nobody takes all of them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""From the first moment of a connection, or the end of its last answer, to the end of a request's head."""
BODY_SECONDS = 60.0
"""Between two pieces of a request's body."""
PER_CLIENT = 128
"""Connections of one address at the same time: browsers use six, Slicer a few."""
MARGIN = 64
"""File descriptors that are left for files."""


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol with time limits on requests, and a limit on connections of each address.

    Uvicorn itself waits for ever for a request to be completed, so that a few hundred half-open connections take all
    file descriptors of the process.
    """

    _clients: ClassVar[Counter[str]] = Counter()
    _all = 0
    most = 4096
    """Connections of all addresses together; set by ``bound_connections``."""
    _proxies: ClassVar[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = ()

    @classmethod
    def trust(cls, proxies: Iterable[str]) -> None:
        """Let the addresses of reverse proxies, which speak for many people, have all connections.

        Args:
            proxies: IP addresses or networks.
        """
        cls._proxies = tuple(ipaddress.ip_network(each) for each in proxies)

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it if its address, or everybody together, has too many."""
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        host = self.client[0] if self.client else "local"
        cls = PatientProtocol
        if cls._all >= cls.most or (cls._clients[host] >= PER_CLIENT and not cls._is_proxy(host)):
            transport.abort()
            return
        self._address = host
        cls._clients[host] += 1
        cls._all += 1
        self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_timer()
        if self._address:
            cls = PatientProtocol
            cls._all -= 1
            cls._clients[self._address] -= 1
            if not cls._clients[self._address]:
                del cls._clients[self._address]
            self._address = ""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head has to end in time as a whole, a body has to go on."""
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
