"""Where a server listens, by which certificate and behind which proxy: told before models are loaded."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from otherwise.errors import OtherwiseError
from otherwise.tokens import read_tokens


class ServeError(OtherwiseError):
    """The server cannot be started as asked."""

    code = "serve"


def refuse_open_door(host: str, tokens: Path | None = None, proxy: Sequence[str] = ()) -> None:
    """Refuse to be reachable from other machines while everybody would be let in.

    Args:
        host: Address to listen on.
        tokens: File of those who may.
        proxy: Addresses of reverse proxies, which bring other machines' requests.

    Raises:
        ServeError: if so.
        TokensError: if the file of tokens cannot be used.
    """
    if tokens:
        read_tokens(tokens)
        return
    loopback = is_loopback(host)
    guarded = os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").lower() in ("true", "1", "yes", "on")
    if (not loopback or proxy) and not guarded:
        raise ServeError(
            f"{f'--proxy {proxy[0]}' if proxy else f'--host {host}'} would let everybody on the network in.",
            "Give --tokens FILE (otherwise tokens add), or set MONAI_LABEL_AUTH_ENABLE=true for MONAI Label's login.",
        )


def reachable_name(host: str) -> str:
    """Return the name by which others reach a server: of this machine, where it listens at all its addresses."""
    return socket.gethostname() if _is(host, "is_unspecified") else host


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return host == "localhost" or _is(host, "is_loopback")


def _is(host: str, what: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), what))
    except ValueError:
        return False


def tls(certificate: Path | None, key: Path | None) -> dict[str, object]:
    """Return Uvicorn's settings for https; none without a certificate.

    Raises:
        ServeError: if certificate and key cannot be used together.
    """
    if certificate is None or key is None:
        if certificate or key:
            raise ServeError("A certificate needs its key, and a key its certificate.", "Give --certificate and --key.")
        return {}
    try:
        # Without a password of its own, OpenSSL would ask for one on the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM").lower().replace("_", " ")
        raise ServeError(
            f"{certificate.name} and {key.name} cannot be used ({reason}).",
            "Give a PEM chain and its key, unencrypted.",
        ) from error
    except OSError as error:
        raise ServeError(
            f"The certificate or its key cannot be read ({error.strerror}).", "Check the paths."
        ) from error
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


def proxies(addresses: Sequence[str]) -> dict[str, object]:
    """Return Uvicorn's settings for reverse proxies; without any, no forwarded headers are trusted.

    Raises:
        ServeError: if an address is none.
    """
    try:
        for address in addresses:
            ipaddress.ip_network(address)
    except ValueError as error:
        raise ServeError(f"--proxy {address} is no IP address.", "Give one, or a network as 10.0.0.0/24.") from error
    return {"proxy_headers": bool(addresses), "forwarded_allow_ips": list(addresses)}


def listen(host: str, port: int) -> socket.socket:
    """Take the port at once, so that a taken one is told before models are loaded.

    Raises:
        ServeError: if it cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.create_server(address[:2], family=family)
        # Handed down to every connection: asyncio does so only for sockets that it makes itself, and without it each
        # reply on a kept connection waits 40 ms for the client's acknowledgement of its first part.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return door
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host}:{port} ({os.strerror(error.errno) if error.errno else error}).",
            "Choose another --port; 0 takes any free one.",
        ) from error
