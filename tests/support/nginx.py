"""Run a real nginx in front of a server under test."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 20.0
BARE = """
worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}
}}
"""
"""What people write first: ``proxy_pass`` and nothing else."""


def is_installed() -> bool:
    return shutil.which("nginx") is not None


@contextmanager
def bare(upstream: int, folder: Path) -> Iterator[str]:
    """Run nginx with ``BARE`` and give its address."""
    (port,) = _free_ports(1)
    with _running(BARE.format(folder=folder, port=port, upstream=upstream), folder, [port]):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def shipped(upstream: int, certificate: tuple[Path, Path], folder: Path) -> Iterator[tuple[str, str]]:
    """Run nginx with ``deploy/nginx.conf``, but for its places, and give its https and its http address."""
    text = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    secure, plain = _free_ports(2)
    places = {
        "server server:8000;": f"server 127.0.0.1:{upstream};",
        "listen 8443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "listen 8080;": f"listen 127.0.0.1:{plain};",
        "/etc/nginx/tls/certificate.pem": str(certificate[0]),
        "/etc/nginx/tls/key.pem": str(certificate[1]),
        "/tmp/nginx": str(folder / "nginx"),
    }
    for written, here in places.items():
        assert written in text, written
        text = text.replace(written, here)
    with _running(text, folder, [secure, plain]):
        yield f"https://localhost:{secure}", f"http://localhost:{plain}"


@contextmanager
def _running(text: str, folder: Path, ports: list[int]) -> Iterator[None]:
    file = folder / "nginx.conf"
    file.write_text(re.sub(r"^", "user root;\n", text) if os.geteuid() == 0 else text, encoding="utf-8")
    command = ["nginx", "-c", str(file), "-p", str(folder), "-e", "stderr", "-g", "daemon off;"]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr, tested.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for port in ports:
            _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "nginx ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


def _free_ports(count: int) -> list[int]:
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [door.getsockname()[1] for door in doors]
    finally:
        for door in doors:
            door.close()
