"""Addresses of servers: complete what users type, and tell this machine from others."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .errors import ServerError


def complete_address(text: str) -> str:
    """Return the address for what a user typed, such as ``host:port`` or an address with a slash at its end.

    Raises:
        ServerError: ``address`` if the text is no address.
    """
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or " " in text or parts.username or parts.query or parts.fragment:
        raise ServerError("address", "This is no server address.", "Type it like 127.0.0.1:8000.")
    return text.rstrip("/")


def host_of(address: str) -> str:
    """Return the host of an address."""
    return urlsplit(address).hostname or ""


def is_loopback(address: str) -> bool:
    """Return whether an address is on this machine."""
    host = host_of(address)
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def without_secret(address: str) -> str:
    """Return an address as it may be shown and stored: on this machine, the path is the server's secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if is_loopback(address) else address
