"""Address, certificate and proxies of a server, checked before models are loaded."""

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
    """The server cannot be started with these options."""

    code = "serve"


def refuse_open_door(host: str, tokens: Path | None = None, proxy: Sequence[str] = ()) -> None:
    """Refuse to listen to other machines without authentication.

    Args:
        host: Address to listen on.
        tokens: File of tokens.
        proxy: Addresses of reverse proxies, which forward requests of other machines.

    Raises:
        ServeError: if other machines can reach the server and nothing checks who they are.
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
    """Return the host name for other machines; this machine's name if the server listens on all addresses."""
    return socket.gethostname() if _is(host, "is_unspecified") else host


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
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
        # Without a password, OpenSSL would ask for one on the terminal.
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
        ServeError: if an address is invalid.
    """
    try:
        for address in addresses:
            ipaddress.ip_network(address)
    except ValueError as error:
        raise ServeError(f"--proxy {address} is no IP address.", "Give one, or a network as 10.0.0.0/24.") from error
    return {"proxy_headers": bool(addresses), "forwarded_allow_ips": list(addresses)}


def listen(host: str, port: int) -> socket.socket:
    """Bind the port, so that a port in use is reported before models are loaded.

    Raises:
        ServeError: if the port cannot be bound.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.create_server(address[:2], family=family)
        # Inherited by every connection. asyncio sets it only for sockets that it creates; without it each
        # reply on a kept connection waits 40 ms for the client's acknowledgement of its first part.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return door
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host}:{port} ({os.strerror(error.errno) if error.errno else error}).",
            "Choose another --port; 0 takes any free one.",
        ) from error
