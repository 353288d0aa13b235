"""What was recorded stays, in order, whoever else is writing; on SQLite and on a real PostgreSQL alike."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from otherwise.annotations.annotation import Annotation, withdrawal
from otherwise.annotations.database import open_database
from otherwise.annotations.migrating import VERSION_TABLE
from otherwise.annotations.region import RegionMask
from otherwise.annotations.store import METADATA, AnnotationConflictError, AnnotationStore, UnknownAnnotationError

Say = Callable[..., Annotation]


def test_what_was_said_is_there_in_order_also_after_opening_again(
    store: AnnotationStore, database: str, say: Say
) -> None:
    assert store.head() == 0
    assert store.current() == store.history() == store.since(0) == []
    annotations = [say(), say(image="phantom-2", region=None), say(kind="disagree")]
    assert [store.append(annotation) for annotation in annotations] == [1, 2, 3]
    store.close()

    with AnnotationStore(database) as again:
        assert again.current() == again.history() == annotations
        assert again.current("phantom-2") == again.history("phantom-2") == annotations[1:2]
        assert again.current("phantom-3") == []
        assert [(item.number, item.annotation) for item in again.since(1)] == [(2, annotations[1]), (3, annotations[2])]
        assert [item.number for item in again.since(0, most=2)] == [1, 2]
        assert again.head() == 3
        assert again.get(annotations[2].id) == annotations[2]
        with pytest.raises(UnknownAnnotationError) as unknown:
            again.get("0f" * 16)
        assert unknown.value.status == 404


def test_a_withdrawn_one_no_longer_holds_but_is_never_forgotten(store: AnnotationStore, say: Say) -> None:
    wrong, right = say(), say()
    store.append_all([wrong, right])
    undo = withdrawal(wrong, "Reader B")
    assert store.append(undo) == 3
    assert store.current() == store.current("phantom-1") == [right]
    assert store.history() == store.history("phantom-1") == [wrong, right, undo]
    assert store.append(withdrawal(wrong, "Reader C")) == 4, "two may take the same one back"
    assert store.current() == [right]


def test_a_repeated_request_is_recorded_once(store: AnnotationStore, say: Say) -> None:
    annotation = say()
    assert store.append(say()) == 1
    assert store.append(annotation) == 2
    assert store.append(Annotation.from_text(annotation.to_text())) == 2
    assert store.append_all([annotation, say(), annotation]) == [2, 3, 2]
    with pytest.raises(AnnotationConflictError, match=annotation.id) as refused:
        store.append(replace(annotation, certain=True))
    assert refused.value.status == 409
    assert store.head() == 3
    assert store.get(annotation.id) == annotation


def test_the_same_region_packed_by_another_zlib_is_the_same_annotation(store: AnnotationStore, say: Say) -> None:
    annotation = say()
    store.append(annotation)
    content = annotation.to_json()
    data = zlib.decompress(base64.b64decode(content["region"]["voxels"]))
    content["region"]["voxels"] = base64.b64encode(zlib.compress(data, level=0)).decode()
    assert content != annotation.to_json()
    assert store.append(Annotation.from_json(content)) == 1


def test_withdrawing_what_is_not_there_is_refused(store: AnnotationStore, say: Say) -> None:
    annotation = say()
    with pytest.raises(UnknownAnnotationError, match=annotation.id) as refused:
        store.append(withdrawal(annotation, "A"))
    assert refused.value.status == 404
    store.append(annotation)
    undo = withdrawal(annotation, "A")
    store.append(undo)
    for other in (withdrawal(undo, "A"), replace(withdrawal(annotation, "A"), image="phantom-2")):
        with pytest.raises(AnnotationConflictError) as conflict:
            store.append(other)
        assert conflict.value.status == 409
    assert store.head() == 2


def test_of_several_at_once_all_are_recorded_or_none(store: AnnotationStore, say: Say) -> None:
    store.append(say())
    with pytest.raises(UnknownAnnotationError):
        store.append_all([say(), say(), withdrawal(say(), "A")])

    def interrupted() -> object:
        yield say()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.append_all(interrupted())  # type: ignore[arg-type]
    assert store.head() == len(store.history()) == 1
    assert store.append(say()) == 2


def test_people_who_disagree_are_both_kept(store: AnnotationStore, say: Say) -> None:
    region = say().region
    assert isinstance(region, RegionMask)
    one, other = say(author="A", region=region), say(author="B", region=region)
    store.append_all([one, other])
    assert store.current() == [one, other]


def test_threads_that_write_at_once_lose_nothing(store: AnnotationStore, say: Say) -> None:
    annotations = [say(author=f"Reader {n % 4}") for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(store.append, annotations))
        heads = list(pool.map(lambda _: store.head(), range(20)))
    assert sorted(numbers) == list(range(1, 61))
    assert set(heads) == {60}
    assert [store.since(number - 1, 1)[0].annotation for number in numbers] == annotations


def test_processes_that_open_and_write_at_once_lose_nothing_and_a_reader_misses_nothing(
    database: str, writer: Callable[..., object]
) -> None:
    """Three open the same new database at the same instant."""
    processes = [writer(database, f"Reader {n}", 40) for n in range(3)]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    seen: list[int] = []
    with AnnotationStore(database) as store:
        while len(seen) < 120 and any(process.poll() is None for process in processes):
            seen += [recorded.number for recorded in store.since(seen[-1] if seen else 0)]
        acknowledged = [process.communicate(timeout=60)[0].decode().split() for process in processes]
        seen += [recorded.number for recorded in store.since(seen[-1] if seen else 0)]
        assert seen == list(range(1, 121))
        there = [recorded.annotation for recorded in store.since(0)]
    for number, ids in enumerate(acknowledged):
        assert [annotation.id for annotation in there if annotation.author == f"Reader {number}"] == ids
        assert len(ids) == 40
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_the_migrations_make_the_tables_that_the_store_reads(database: str) -> None:
    engine = open_database(database)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
            )
            assert compare_metadata(context, METADATA) == []
    finally:
        engine.dispose()
