"""Annotations to record, and the two kinds of database to record them in, PostgreSQL's a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from otherwise.annotations.annotation import Annotation, ModelVersions
from otherwise.annotations.region import RegionMask
from otherwise.annotations.store import AnnotationStore
from otherwise.annotations.vocabulary import Term
from otherwise.images.image import Geometry

Say = Callable[..., Annotation]


@pytest.fixture
def say() -> Say:
    """Make an annotation: a spiculated margin, by default."""
    mask = np.zeros((8, 6, 4), dtype=bool)
    mask[2:5, 1:4, 2] = True
    affine = [[0.28, -0.96, 0, 12.5], [0.96, 0.28, 0, -7.0], [0, 0, 1.5, 3.25], [0, 0, 0, 1]]
    region = RegionMask(mask, Geometry((8, 6, 4), np.array(affine)))

    def make(**different: Any) -> Annotation:
        values = {
            "author": "Reader Ä",
            "kind": "name",
            "image": "phantom-1",
            "image_sha256": "0f" * 32,
            "slice_index": 2,
            "region": region,
            "units": ("layer3/17", "layer3/4"),
            "term": Term("SCT", "129742005", "Spiculated lesion"),
            "certain": False,
            "models": ModelVersions("mammogram_classifier@3f2a", "mammogram_agent@77aa", ""),
            "explanation": "phantom-1-2f",
            "comment": "two lines,\n“quoted”",
        }
        return Annotation(**{**values, **different})

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """A cluster of its own, thrown away afterwards; the fixture makes a new database and gives its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    # PostgreSQL refuses to run as root, and its user may not look into pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    as_servant: dict[str, Any] = {}
    if os.geteuid() == 0:
        import pwd

        users = {user.pw_name: user for user in pwd.getpwall()}
        servant = users.get("postgres") or users["nobody"]
        os.chown(folder, servant.pw_uid, servant.pw_gid)
        as_servant = {"user": servant.pw_uid, "group": servant.pw_gid, "extra_groups": []}

    def run(program: str, *words: str) -> None:
        command = [str(Path(initdb).with_name(program)), *words]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **as_servant)

    data, numbers = str(folder / "data"), count(1)
    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=otherwise", "--encoding=UTF8", "--locale=C", "-D", data)
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")

        def make() -> str:
            name = f"test{next(numbers)}"
            with psycopg.connect(host=str(folder), user="otherwise", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return f"postgresql://otherwise@/{name}?host={folder}"

        yield make
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be opened: a path or a URL; nothing is there yet."""
    if request.param == "SQLite":
        return str(tmp_path / "state" / "annotations.sqlite")
    make: Callable[[], str] = request.getfixturevalue("postgres")
    return make()


@pytest.fixture
def store(database: str) -> Iterator[AnnotationStore]:
    with AnnotationStore(database) as opened:
        yield opened


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    """A file's name for a test that is about files."""
    return tmp_path / "annotations.sqlite"


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def writer() -> Iterator[Start]:
    """Start a process that opens a database and names units until it has named so many; it prints every id recorded."""
    code = """
import os, sys
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.store import AnnotationStore
from otherwise.annotations.vocabulary import Term
os.write(1, b"ready\\n")
sys.stdin.readline()
database, author, count = sys.argv[1:]
with AnnotationStore(database) as store:
    for number in range(int(count)):
        term = Term("SCT", "1", "one")
        annotation = Annotation(author=author, kind="name", image="x", units=(f"u/{number}",), term=term)
        store.append(annotation)
        os.write(1, annotation.id.encode() + b"\\n")
"""
    started = []

    def start(database: str | Path, author: str, how_many: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, str(database), author, str(how_many)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
