"""Eight readers who want to keep everybody else out, each by one means, in a process of their own.

    python hostile.py URL SECONDS TOKEN [TOKEN ...]

Each has a token of the role reader and an address of its own (127.0.0.2 and so on). It prints as JSON what each was
answered how often.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import struct
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

PATIENCE = 30.0


class Reader:
    """Somebody who may only read.

    Args:
        url: Of the server.
        token: Of the reader.
        address: Loopback address to come from.
        until: When to stop, on the monotonic clock.
    """

    def __init__(self, url: str, token: str, address: str, until: float) -> None:
        self.url, self.token, self.address, self.until = url, token, address, until
        self.answers: Counter[str] = Counter()

    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {self.token}"
        session.mount("http://", _From(self.address))
        return session

    def ask(self, session: requests.Session, method: str, path: str, **more: Any) -> requests.Response | None:
        """Ask without regard for ``Retry-After``, but for a tenth of a second."""
        try:
            reply = session.request(method, self.url + path, timeout=PATIENCE, **more)
        except requests.RequestException as error:
            self.answers[type(error).__name__] += 1
            time.sleep(0.1)
            return None
        self.answers[str(reply.status_code)] += 1
        if reply.status_code == 429:
            time.sleep(0.1)
        return reply

    def together(self, count: int, work: Callable[[requests.Session], object]) -> None:
        """Do something from so many threads at once, again and again."""

        def repeat() -> None:
            with self.session() as session:
                while self.goes_on():
                    work(session)

        threads = [threading.Thread(target=repeat) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__(pool_maxsize=64)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


def bombs(reader: Reader) -> None:
    """Half a megabyte that becomes 2 GiB of voxels, and five times as much once it is scaled; four at once."""
    content = bomb((1024, 1024, 512))
    huge = bomb((32767, 32767, 32767), voxels=0)
    which = cycle((content, content, huge))
    reader.together(
        4, lambda session: reader.ask(session, "POST", "/infer/classify", files={"file": ("a.nii.gz", next(which))})
    )


def bomb(shape: tuple[int, int, int], voxels: int | None = None) -> bytes:
    """Make a gzipped NIfTI of zeros with a scale."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 512, 16)  # unsigned 16 bit
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, 0.01, 0)
    struct.pack_into("<h", header, 254, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    packed = io.BytesIO()
    zeros = bytes(2**20)
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        file.write(header)
        count = 2 * shape[0] * shape[1] * shape[2] if voxels is None else voxels
        for _ in range(count // len(zeros)):
            file.write(zeros)
    return packed.getvalue()


def queries(reader: Reader) -> None:
    """Sixty concept queries at once."""
    with reader.session() as session:
        image = session.get(f"{reader.url}/otherwise/studies", timeout=PATIENCE).json()["studies"][0]["id"]
    body = {"image": image, "region": {"polygon": [[0, 0, 0], [40, 0, 0], [0, 40, 0]]}}
    reader.together(60, lambda session: reader.ask(session, "POST", "/otherwise/concepts/query", json=body))


def streams(reader: Reader) -> None:
    """Three hundred streams of events, opened again when they are refused."""

    def listen(session: requests.Session) -> None:
        reply = reader.ask(session, "GET", "/otherwise/jobs/events", stream=True)
        if reply is not None and reply.ok:
            with suppress(requests.RequestException):
                for _ in reply.iter_content(1):
                    if not reader.goes_on():
                        break

    reader.together(100, listen)


def half_open(reader: Reader) -> None:
    """Five hundred connections that never say what they want, a byte at a time; a hundred a second are opened anew."""
    parts = urlsplit(reader.url)
    held: list[socket.socket] = []
    while reader.goes_on():
        round_ends = time.monotonic() + 1
        for _ in range(100):
            with suppress(OSError):
                one = socket.create_connection((parts.hostname, parts.port), 5, (reader.address, 0))
                one.settimeout(0.2)
                one.sendall(b"POST /otherwise/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nX-A: ")
                held.append(one)
                reader.answers["opened"] += 1
        alive = []
        for each in held:
            try:
                each.sendall(b"x")
                alive.append(each)
            except OSError:
                each.close()
                reader.answers["closed by the server"] += 1
        held = alive[-500:]
        time.sleep(max(0.0, round_ends - time.monotonic()))
    for each in held:
        each.close()


def bodies(reader: Reader) -> None:
    """JSON of 28 MiB, JSON within the limit that is deep or has a million keys, and bodies that announce too much."""
    many = json.dumps({f"key{number}": number for number in range(180_000)}).encode()
    deep = b"[" * 2_000_000 + b"]" * 2_000_000
    large = b'{"kind": "' + b"x" * (28 * 2**20) + b'"}'
    which = cycle((many, deep, large))
    headers = {"Content-Type": "application/json"}
    reader.together(
        4, lambda session: reader.ask(session, "POST", "/otherwise/jobs", data=next(which), headers=headers)
    )


def guesses(reader: Reader) -> None:
    """Ids of other people's sessions, jobs and explanations, and other people's tokens."""

    def guess(session: requests.Session) -> None:
        id = uuid.uuid4()
        for path in (f"/session/{id}?image=true", f"/otherwise/explanations/{id}", f"/otherwise/jobs/{id}"):
            reply = reader.ask(session, "GET", path)
            assert reply is None or not reply.ok, path
        reply = reader.ask(session, "GET", "/info/", headers={"Authorization": f"Bearer {os.urandom(16).hex()}"})
        assert reply is None or not reply.ok

    reader.together(8, guess)


def reports(reader: Reader) -> None:
    """Reports, PDFs and DICOM objects of everything there is."""

    def draw(session: requests.Session) -> None:
        listed = reader.ask(session, "GET", "/otherwise/jobs")
        jobs: list[dict[str, Any]] = listed.json() if listed is not None and listed.ok else []
        done = [job["result"]["id"] for job in jobs if job.get("state") == "done" and job.get("result")]
        for id in done[:5] or ["none"]:
            for name in ("report.pdf", "report.html", "dicom.zip"):
                reader.ask(session, "GET", f"/otherwise/explanations/{id}/{name}")

    reader.together(16, draw)


def jobs(reader: Reader) -> None:
    """As many explanations as are taken, none of which anybody waits for."""
    with reader.session() as session:
        image = session.get(f"{reader.url}/otherwise/studies", timeout=PATIENCE).json()["studies"][0]["id"]

    seeds: Iterator[int] = iter(range(10**9, 2 * 10**9))

    def start(session: requests.Session) -> None:
        body = {"kind": "explain", "image": image, "params": {"seed": next(seeds)}, "fresh": True}
        reader.ask(session, "POST", "/otherwise/jobs", json=body)

    reader.together(8, start)


MEANS = (bombs, queries, streams, half_open, bodies, guesses, reports, jobs)


def main(url: str, seconds: float, tokens: list[str]) -> None:
    """Let all of them loose, and print what they were answered."""
    until = time.monotonic() + seconds
    readers = [Reader(url, token, f"127.0.0.{number}", until) for number, token in enumerate(tokens, start=2)]
    threads = [threading.Thread(target=means, args=(each,)) for means, each in zip(MEANS, readers, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({means.__name__: each.answers for means, each in zip(MEANS, readers, strict=True)}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
