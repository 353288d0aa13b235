"""Check a running server from outside, without and with a token.

No check changes anything on the server. The kinds of attack are those of docs/admin/security.md.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from otherwise.cli.doctor.checks import SECONDS, SOON, Check, CheckResult
from otherwise.cli.options.network import is_loopback
from otherwise.errors import OtherwiseError

TOKEN = "OTHERWISE_TOKEN"
"""Environment variable that holds the token, so that it does not appear in the shell's history."""
LIVE = "/otherwise/health/live"
GUARDED = ("/", "/docs", "/openapi.json", "/info/", "/datastore/", "/otherwise/about", "/otherwise/jobs")
"""Routes that nobody may read without a token."""
CLOSED = ("/logs/", "/model/any", "/proxy/dicom/any", "/reload")
"""Routes of MONAI Label that are closed to everybody."""
FORWARDED: tuple[Mapping[str, str], ...] = (
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"Host": "localhost"},
    {"Authorization": "Bearer x"},
)
"""Forwarded headers that a proxy sets and an attacker may forge."""
ELSEWHERE = "https://elsewhere.invalid"
HUGE = 10**13


class UnreachableError(OtherwiseError):
    """The server cannot be reached."""

    code = "unreachable"


@dataclass(frozen=True)
class ProbeReply:
    """The beginning of a reply."""

    status: int
    headers: Mapping[str, str]
    text: str = ""

    @property
    def let_in(self) -> bool:
        """Return whether the reply grants access."""
        return self.status < 400


@dataclass(frozen=True)
class CheckedServer:
    """Address and credentials of the server under check.

    Attributes:
        scheme, host, port: Address.
        token: Token; empty: no log-in.
        authority: Certificates to trust besides the system's.
        named: Whether its certificate has to name the host.
    """

    scheme: str
    host: str
    port: int
    token: str = field(default="", repr=False)
    authority: Path | None = None
    named: bool = True

    @classmethod
    def at(cls, address: str, authority: Path | None = None) -> CheckedServer:
        """Read an address, with or without ``/token/TOKEN``.

        Raises:
            UnreachableError: if the address is invalid.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnreachableError(f"{address[:64]} is no address.", "Give https://HOST:PORT.")
        inside = re.fullmatch(r"/token/([^/]+)/?", parts.path)
        token = inside[1] if inside else os.environ.get(TOKEN, "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, token, authority)

    @classmethod
    def listening(cls, host: str, port: int, authority: Path | None = None) -> CheckedServer:
        """Return the server at a port, by https if it speaks that; a loopback address need not be in its certificate.

        Raises:
            UnreachableError: if the host is invalid.
        """
        scheme = "https" if speaks_tls(host, port) else "http"
        server = cls.at(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", authority)
        return replace(server, named=not is_loopback(host))

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", known: bool = False
    ) -> ProbeReply:
        """Send one request, without a body.

        Args:
            known: Whether to log in.

        Raises:
            UnreachableError: if there is no reply.
        """
        sent = {"Host": self._name(), **(headers or {})}
        if known:
            sent["Authorization"] = f"Bearer {self.token}"
        connection = self._connect()
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            reply = connection.getresponse()
            return ProbeReply(
                reply.status,
                {name.lower(): value for name, value in reply.getheaders()},
                reply.read(65536).decode("utf-8", "replace"),
            )
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                f"Its certificate is not trusted ({error.verify_message}).",
                "Give the authority's certificate by --certificate.",
            ) from error
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"There is no reply ({type(error).__name__}).", "Is the server up?") from error
        finally:
            connection.close()

    def tls_context(self) -> ssl.SSLContext:
        """Return the TLS context that verifies certificates."""
        context = ssl.create_default_context()
        if self.authority:
            context.load_verify_locations(self.authority)
        context.check_hostname = self.named
        return context

    def _connect(self) -> HTTPConnection:
        if self.scheme == "https":
            return HTTPSConnection(self.host, self.port, timeout=SECONDS, context=self.tls_context())
        return HTTPConnection(self.host, self.port, timeout=SECONDS)

    def _name(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port in (80, 443) else f"{shown}:{self.port}"


def speaks_tls(host: str, port: int) -> bool:
    """Return whether something at a port answers a TLS handshake; certificates are not looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), SECONDS) as plain, context.wrap_socket(plain):
            return True
    except OSError:  # an ssl.SSLError, too
        return False


def security_checks(server: CheckedServer, state: Path | None, tokens: Path | None) -> dict[str, Check]:
    """Return the checks by name, in their order.

    Args:
        server: The server.
        state: Its state folder, where that is on this machine.
        tokens: Its file of tokens, where that is on this machine.
    """
    asked: dict[str, Check] = {
        "server": lambda: reachable(server),
        "encryption": lambda: encryption(server),
        "certificate": lambda: certificate(server),
        "tokens": lambda: strangers(server),
        "proxy": lambda: proxy(server),
        "origins": lambda: origins(server),
        "closed routes": lambda: closed_routes(server),
        "pages": lambda: pages(server),
        "sizes": lambda: sizes(server),
        "role": lambda: role(server),
    }
    if state:
        asked["state"] = lambda: private(state, "state")
    if tokens:
        asked["file of tokens"] = lambda: private(tokens, "file of tokens")
    return asked


def reachable(server: CheckedServer) -> CheckResult:
    """Return whether an Otherwise server answers there."""
    reply = server.ask(LIVE)
    if reply.status not in (200, 503):
        hint = "Give the address of the server, or the path through the proxy that leads to it."
        return CheckResult("server", "fail", f"No Otherwise server answers there ({reply.status}).", hint)
    return CheckResult("server", "ok", f"{server.scheme}://{server.host}:{server.port} answers")


def encryption(server: CheckedServer) -> CheckResult:
    """Return whether images and tokens can be read on the network."""
    if server.scheme == "https":
        return CheckResult("encryption", "ok", "https")
    if not is_loopback(server.host):
        return CheckResult(
            "encryption",
            "fail",
            "Images and tokens cross the network unencrypted.",
            "Use a proxy with TLS, or --certificate.",
        )
    for address in _own_addresses():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.settimeout(SECONDS)
            if probe.connect_ex((address, server.port)) == 0:
                what = f"The server listens at {address} too, unencrypted."
                return CheckResult("encryption", "fail", what, "Start it with --host 127.0.0.1, or with --certificate.")
    return CheckResult("encryption", "ok", "reached from this machine only")


def certificate(server: CheckedServer, now: datetime | None = None) -> CheckResult:
    """Return whether clients trust the certificate, and how long."""
    if server.scheme == "http":
        return CheckResult("certificate", "ok", "none, as there is no https")
    server.ask(LIVE)  # raises where it is not trusted
    context = server.tls_context()
    with (
        socket.create_connection((server.host, server.port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server.host) as secured,
    ):
        shown, version = secured.getpeercert() or {}, secured.version()
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    left = until - (now or datetime.now(UTC))
    what = f"trusted, valid until {until:%Y-%m-%d}, {version}"
    what += "" if server.named else f"; its names were not compared, since {server.host} is this machine"
    if left < timedelta():
        return CheckResult("certificate", "fail", f"expired on {until:%Y-%m-%d}", "Renew it.")
    return CheckResult("certificate", "warn" if left < SOON else "ok", what, "Renew it." if left < SOON else "")


def strangers(server: CheckedServer) -> CheckResult:
    """Return whether a request without a token is accepted."""
    open_to_all = [path for path in GUARDED if server.ask(path).let_in]
    if open_to_all:
        what = f"Anybody may read {', '.join(open_to_all)}."
        return CheckResult("tokens", "fail", what, "Start the server with --tokens FILE (otherwise tokens add).")
    return CheckResult("tokens", "ok", "nobody is let in without a token")


def proxy(server: CheckedServer) -> CheckResult:
    """Check that forwarded headers, set by a proxy or forged by a client, do not grant access."""
    for headers in FORWARDED:
        if server.ask("/otherwise/about", headers).let_in:
            listed = ", ".join(f"{name}: {value}" for name, value in headers.items())
            return CheckResult("proxy", "fail", f"{listed} lets anybody in.", "Start the server with --tokens FILE.")
    through = server.ask(LIVE).headers
    name = through.get("via") or through.get("server", "")
    if name and not re.match(r"uvicorn", name, re.IGNORECASE):
        return CheckResult("proxy", "ok", f"{name[:32]} is before it; its headers open nothing")
    return CheckResult("proxy", "ok", "forwarded headers open nothing")


def origins(server: CheckedServer) -> CheckResult:
    """Return whether pages of other servers can send requests to this one in a browser (CORS)."""
    asked: tuple[tuple[str, dict[str, str]], ...] = (
        ("GET", {}),
        ("OPTIONS", {"Access-Control-Request-Method": "GET"}),
    )
    for origin in (ELSEWHERE, "null"):
        for method, more in asked:
            reply = server.ask("/otherwise/about", {"Origin": origin, **more}, method=method, known=bool(server.token))
            allowed = reply.headers.get("access-control-allow-origin", "")
            if reply.let_in or allowed in ("*", origin):
                what = f"A page of {origin} may use the server in a browser."
                return CheckResult(
                    "origins", "fail", what, "Name the pages that may by --origin; leave CORS to the server."
                )
    return CheckResult("origins", "ok", "pages of other servers are refused")


def closed_routes(server: CheckedServer) -> CheckResult:
    """Return whether routes of MONAI Label answer that read logs, models or other servers."""
    found = [path for path in CLOSED if server.ask(path, known=bool(server.token)).let_in]
    if found:
        return CheckResult(
            "closed routes", "fail", f"{', '.join(found)} answers.", "Is it an Otherwise server of this version?"
        )
    return CheckResult("closed routes", "ok", f"{', '.join(CLOSED)} are refused")


def pages(server: CheckedServer) -> CheckResult:
    """Return whether the server's pages run no scripts and load nothing from elsewhere."""
    if not server.token:
        return _not_looked_at("pages")
    reply = server.ask("/", known=True)
    policy = reply.headers.get("content-security-policy", "")
    if reply.let_in and "default-src 'none'" not in policy:
        what = "The start page may load scripts from elsewhere."
        return CheckResult("pages", "fail", what, "Let the proxy pass Content-Security-Policy on as it is.")
    return CheckResult("pages", "ok", "no scripts, nothing from elsewhere")


def sizes(server: CheckedServer) -> CheckResult:
    """Return whether a body of ten terabytes is refused before it is sent."""
    if not server.token:
        return _not_looked_at("sizes")
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(HUGE)}
    try:
        reply = server.ask("/infer/classify?image=none", headers, method="POST", known=True)
    except UnreachableError:
        return CheckResult(
            "sizes", "warn", "The server waits for a body of any size.", "Set client_max_body_size of the proxy."
        )
    if reply.status == 413:
        return CheckResult("sizes", "ok", "too large bodies are refused at once")
    return CheckResult(
        "sizes", "warn", f"A body of any size is answered by {reply.status}.", "Is the proxy's limit set?"
    )


def role(server: CheckedServer) -> CheckResult:
    """Return owner and role of the given token, and warn of a role that is too powerful."""
    if not server.token:
        return _not_looked_at("role")
    reply = server.ask("/otherwise/about", known=True)
    if not reply.let_in:
        return CheckResult(
            "role", "fail", f"The token is refused ({reply.status}).", "otherwise tokens list shows who has one."
        )
    found = re.search(r'"role":\s*"(\w+)"', reply.text)
    name = found[1] if found else "unknown"
    if name == "admin":
        return CheckResult("role", "warn", "The token is an administrator's.", "Give Slicer a reader's or annotator's.")
    return CheckResult("role", "ok", name)


def private(path: Path, name: str) -> CheckResult:
    """Return whether other users of this machine can read or change a file, or anything in a folder."""
    if not path.exists():
        return CheckResult(name, "fail", f"There is no {path.name}.", "Give the path that the server was started with.")
    if path.is_dir():
        mode = path.stat().st_mode
        if mode & stat.S_IRWXO:
            return CheckResult(
                name, "fail", f"Other users can look into {path.name} ({stat.filemode(mode)}).", f"chmod o= {path.name}"
            )
        open_files = [secret for secret in (path / "secret",) if secret.exists() and secret.stat().st_mode & 0o077]
        if open_files:
            return CheckResult(
                name, "fail", "Other users can read the secret.", "chmod 600 on the file secret, then replace it."
            )
        return CheckResult(name, "ok", stat.filemode(mode))
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return CheckResult(name, "fail", f"{path.name} is a symbolic link.", "Give the file itself.")
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        return CheckResult(
            name,
            "fail",
            f"Other users can read or change {path.name} ({stat.filemode(mode)}).",
            f"chmod 600 {path.name}",
        )
    return CheckResult(name, "ok", stat.filemode(mode))


def _not_looked_at(name: str) -> CheckResult:
    hint = f"Give the address with its token (https://HOST/token/TOKEN), or set {TOKEN}."
    return CheckResult(name, "warn", "not looked at without a token", hint)


def _own_addresses() -> list[str]:
    """Return addresses of this machine that other machines may reach."""
    found = set()
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))  # sends nothing; the system only chooses its own address
                found.add(probe.getsockname()[0])
        except OSError:
            continue
    return sorted(address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_loopback)
