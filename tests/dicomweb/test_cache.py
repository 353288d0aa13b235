"""Fetched images on disk: whole or not at all, once, never more than allowed, and never damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from lib.dicomweb.cache import Cache


def filling(**files: int) -> Callable[[Path], None]:
    """Files of so many bytes, each of its own letter."""

    def fill(folder: Path) -> None:
        for name, size in files.items():
            (folder / f"{name}.dcm").write_bytes(name[:1].encode() * size)

    return fill


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Cache]:
    from lib.dicomweb.cache import Cache

    def make(limit: int = 1000, in_use: float = 0.0) -> Cache:
        return Cache(tmp_path / "cache", limit, in_use)

    return make


def contents(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "content").iterdir())


def test_an_image_is_kept_and_found_again_by_another_process(make: Any, tmp_path: Path) -> None:
    folder = make().keep("1.2.3", 2, filling(a=10, b=20))
    kept, found = make().find("1.2.3")
    assert found == folder
    assert (kept.files, kept.size, kept.count) == (2, 30, 2)
    assert found.name == kept.content
    assert make().find("1.2.4") is None


def test_what_fails_leaves_nothing_and_what_was_there_stays(make: Any, tmp_path: Path) -> None:
    cache = make()
    cache.keep("1.2.3", 1, filling(a=10))

    def fail(folder: Path) -> None:
        filling(b=20)(folder)
        raise RuntimeError("the archive died")

    with pytest.raises(RuntimeError):
        cache.keep("1.2.3", 2, fail)
    kept, folder = cache.find("1.2.3")
    assert kept.size == 10
    assert contents(tmp_path) == [folder.name]


def test_a_disk_that_refuses_is_told_as_such(make: Any, tmp_path: Path) -> None:
    cache, contents = make(), tmp_path / "cache" / "content"
    contents.rmdir()
    contents.write_text("in the way")
    with pytest.raises(OtherwiseError) as caught:
        cache.keep("1.2.3", 1, filling(a=10))
    assert (caught.value.code, caught.value.status) == ("write", 507)
    assert str(tmp_path) not in str(caught.value)


def test_the_same_content_is_kept_once(make: Any, tmp_path: Path) -> None:
    cache = make()
    assert cache.keep("1.2.3", 1, filling(a=10)) == cache.keep("1.2.4", 1, filling(a=10))
    assert cache.size == 10
    cache.drop("1.2.3")
    assert cache.find("1.2.4") is not None
    cache.drop("1.2.4")
    assert contents(tmp_path) == []


def test_the_longest_unused_goes_first(make: Any, tmp_path: Path) -> None:
    cache, records = make(limit=25), tmp_path / "cache" / "images"
    for id, name in (("1.1", "a"), ("1.2", "b")):
        cache.keep(id, 1, filling(**{name: 10}))
    for record in records.iterdir():
        os.utime(record, (1e9, 1e9))

    assert cache.find("1.1") is not None, "now it was used last"
    cache.keep("1.3", 1, filling(c=10))
    assert [id for id in ("1.1", "1.2", "1.3") if cache.find(id)] == ["1.1", "1.3"]
    assert len(contents(tmp_path)) == 2


def test_what_somebody_is_about_to_read_stays(make: Any) -> None:
    cache = make(limit=5, in_use=60.0)
    folder = cache.keep("1.1", 1, filling(a=10))
    cache.keep("1.2", 1, filling(b=10))
    assert (folder / "a.dcm").is_file()


@pytest.mark.parametrize("harm", ["truncated", "removed", "emptied"])
def test_a_damaged_image_is_none(make: Any, harm: str) -> None:
    cache = make()
    folder = cache.keep("1.2.3", 2, filling(a=10, b=20))
    if harm == "removed":
        (folder / "a.dcm").unlink()
    else:
        (folder / "a.dcm").write_bytes(b"" if harm == "emptied" else b"a")

    assert cache.find("1.2.3") is None
    cache.keep("1.2.3", 2, filling(a=10, b=20))
    assert cache.find("1.2.3") is not None


def test_a_damaged_record_is_none(make: Any, tmp_path: Path) -> None:
    cache = make()
    cache.keep("1.2.3", 1, filling(a=10))
    for record in (tmp_path / "cache" / "images").iterdir():
        record.write_text('{"content": "../../..", ')
    assert make().find("1.2.3") is None
