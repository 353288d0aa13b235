"""Databases that are damaged, newer, full, read-only or missing: reported in one line; nothing is lost or deleted."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.database import DamagedDatabaseError, DatabaseError, open_database
from otherwise.annotations.migrating import VERSION_TABLE, NewerDatabaseError
from otherwise.annotations.store import AnnotationStore

Say = Callable[..., Annotation]


def filled(path: Path, say: Say, count: int = 40) -> list[Annotation]:
    with AnnotationStore(path) as store:
        annotations = [say() for _ in range(count)]
        store.append_all(annotations)
    return annotations


def contents(folder: Path) -> dict[str, bytes]:
    """What the files hold; SQLite leaves an empty log, and the log's index, where it has read."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    return {name: data for name, data in found.items() if data}


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(os.urandom(3 * 4096))


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5000)


def replace_by_text(path: Path) -> None:
    path.write_text("This is no database.\n" * 400)


@pytest.mark.parametrize("damage", [scribble, shorten, replace_by_text])
def test_a_damaged_file_is_copied_and_refused_with_what_to_do(
    sqlite: Path, say: Say, damage: Callable[[Path], None]
) -> None:
    filled(sqlite, say)
    damage(sqlite)
    before = contents(sqlite.parent)

    with pytest.raises(DamagedDatabaseError) as refused:
        AnnotationStore(sqlite)

    line = str(refused.value)
    assert len(line.splitlines()) == 1
    assert "otherwise annotations import" in line
    assert "Move annotations.sqlite" in line
    assert 400 <= refused.value.status < 500
    after = contents(sqlite.parent)
    (copy,) = set(after) - set(before)
    assert copy.startswith("annotations.sqlite.damaged-")
    assert copy in line
    assert after == {**before, copy: before["annotations.sqlite"]}, "the damaged file is left as it was"

    with pytest.raises(DamagedDatabaseError, match=copy):
        AnnotationStore(sqlite)
    assert contents(sqlite.parent) == after, "a server that is started again and again does not fill the disk"


def test_what_waits_in_the_log_of_a_damaged_file_is_copied_too(tmp_path: Path, sqlite: Path, say: Say) -> None:
    killed = tmp_path / "killed" / sqlite.name
    killed.parent.mkdir()
    filled(sqlite, say)
    with AnnotationStore(sqlite) as store:
        store.append(say())
        for suffix in ("", "-wal"):
            shutil.copy(f"{sqlite}{suffix}", f"{killed}{suffix}")  # as a killed process leaves it
    scribble(killed)
    before = contents(killed.parent)
    assert len(before["annotations.sqlite-wal"]) > 1000

    with pytest.raises(DamagedDatabaseError):
        AnnotationStore(killed)

    after = contents(killed.parent)
    new = {name: data for name, data in after.items() if name not in before}
    assert before.items() <= after.items()
    assert sorted(new.values()) == sorted(before.values())
    assert {name[-4:] == "-wal" for name in new} == {True, False}


def test_a_log_without_its_database_is_kept(tmp_path: Path, sqlite: Path, say: Say) -> None:
    alone = tmp_path / "alone" / sqlite.name
    alone.parent.mkdir()
    with AnnotationStore(sqlite) as store:
        store.append(say())
        shutil.copy(f"{sqlite}-wal", f"{alone}-wal")
    log = Path(f"{alone}-wal").read_bytes()
    with pytest.raises(DamagedDatabaseError, match="a copy is"):
        AnnotationStore(alone)
    assert sorted(contents(alone.parent).values()) == [log, log]


def test_as_a_killed_process_leaves_it_a_database_opens(tmp_path: Path, sqlite: Path, say: Say) -> None:
    killed = tmp_path / "killed.sqlite"
    with AnnotationStore(sqlite) as store:
        annotations = [say() for _ in range(10)]
        store.append_all(annotations)
        for suffix in ("", "-wal"):
            shutil.copy(f"{sqlite}{suffix}", f"{killed}{suffix}")
    with AnnotationStore(killed) as again:
        assert again.history() == annotations


def test_a_row_that_is_no_annotation_is_reported_by_its_number(sqlite: Path, say: Say) -> None:
    filled(sqlite, say, 3)
    with sqlite3.connect(sqlite) as connection:
        connection.execute("UPDATE annotation SET content = '{}' WHERE number = 2")
    connection.close()
    with AnnotationStore(sqlite) as store, pytest.raises(DamagedDatabaseError, match="Annotation 2"):
        store.current()


def test_a_newer_database_is_refused(database: str) -> None:
    engine = open_database(database)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(NewerDatabaseError, match="Update Otherwise") as refused:
        AnnotationStore(database)
    assert refused.value.status == 409
    assert len(str(refused.value).splitlines()) == 1


LIMITED = """
import resource, sys
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.database import AnnotationStorageError
from otherwise.annotations.store import AnnotationStore
say = lambda: Annotation(author="A", kind="disagree", image="x", explanation="e", comment="x" * 4000)
store = AnnotationStore(sys.argv[1])
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit[1]))
kept = []
try:
    while len(kept) < 1000:
        annotation = say()
        store.append(annotation)
        kept.append(annotation)
except AnnotationStorageError as error:
    print(error)
assert store.history() == kept
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
assert store.append(annotation) == len(kept) + 1
assert store.history() == [*kept, annotation]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are a POSIX matter")
def test_a_full_disk_is_reported_and_work_goes_on_once_there_is_space(sqlite: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(sqlite)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert "space" in line


UNWRITABLE = """
import os, sys
from pathlib import Path
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.database import AnnotationStorageError
from otherwise.annotations.store import AnnotationStore
folder = Path(sys.argv[1])
for place in (folder / "read-only", folder / "closed"):
    AnnotationStore(place / "annotations.sqlite").close()
    (place / "annotations.sqlite").chmod(0o444)
folder.chmod(0o555)
(folder / "read-only").chmod(0o555)
(folder / "closed").chmod(0o000)
if os.geteuid() == 0:
    os.setuid(65534)
for place in (folder / "read-only", folder / "closed", folder / "new"):
    try:
        AnnotationStore(place / "annotations.sqlite")
    except AnnotationStorageError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights of this kind are a POSIX matter")
def test_a_place_that_must_not_be_written_is_reported() -> None:
    # Not in tmp_path, into which nobody but its owner may look, whatever the rights within.
    folder = Path(tempfile.mkdtemp())
    try:
        command = [sys.executable, "-c", UNWRITABLE, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 3
        assert str(folder) not in done.stdout
    finally:
        for place in (folder, *folder.iterdir()):
            place.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://somebody:secret@host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "://",
        "nonsense://",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        AnnotationStore(url)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_database_that_does_not_answer_is_reported_in_one_line_without_its_password(taken_port: int) -> None:
    with pytest.raises(DatabaseError) as refused:
        AnnotationStore(f"postgresql://somebody:secret@127.0.0.1:{taken_port}/name?connect_timeout=2")
    assert refused.value.status == 503
    assert "secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_path_as_url_is_the_path(sqlite: Path, say: Say) -> None:
    annotations = filled(sqlite, say, 2)
    with AnnotationStore(f"sqlite:///{sqlite}") as store:
        assert store.history() == annotations


def test_every_commit_waits_for_the_disk_and_the_log_is_written_ahead(sqlite: Path) -> None:
    engine = open_database(sqlite)
    with engine.connect() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2}
