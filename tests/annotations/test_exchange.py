"""An export holds everything, comes back exactly, and a wrong line imports nothing; also from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otherwise.annotations.annotation import Annotation, withdrawal
from otherwise.annotations.exchange import ExchangeError, ImportResult, export_annotations, import_annotations
from otherwise.annotations.store import AnnotationStore
from otherwise.cli import EXIT_REFUSED, main
from otherwise.images.atomic import WriteError

Say = Callable[..., Annotation]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[AnnotationStore]:
    with AnnotationStore(tmp_path / "other" / "annotations.sqlite") as opened:
        yield opened


@pytest.fixture
def annotations(store: AnnotationStore, say: Say) -> list[Annotation]:
    first = say(comment="line\u2028separator, ümlaut, “quotes”")
    annotations = [
        first,
        say(region=None),
        withdrawal(first, "B"),
        say(kind="disagree", term=None, region=None, units=()),
    ]
    store.append_all(annotations)
    return annotations


def test_exported_imported_and_exported_again_it_is_the_same_to_the_byte(
    store: AnnotationStore, other: AnnotationStore, annotations: list[Annotation], tmp_path: Path
) -> None:
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert export_annotations(store, a) == 4
    assert import_annotations(other, a) == ImportResult(new=4, read=4)
    assert export_annotations(other, b) == 4
    assert a.read_bytes() == b.read_bytes()
    assert other.history() == annotations
    assert other.current() == [annotations[1], annotations[3]]
    assert len(a.read_bytes().splitlines()) == 4

    assert import_annotations(other, a) == ImportResult(new=0, read=4)
    assert other.history() == annotations


def test_more_than_a_batch_is_exported_in_order(other: AnnotationStore, say: Say, tmp_path: Path) -> None:
    annotations = [say(region=None) for _ in range(2001)]
    other.append_all(annotations)
    assert export_annotations(other, tmp_path / "a.jsonl") == 2001
    ids = [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert ids == [annotation.id for annotation in annotations]


def test_an_empty_store_is_an_empty_file(store: AnnotationStore, other: AnnotationStore, tmp_path: Path) -> None:
    assert export_annotations(store, tmp_path / "a.jsonl") == 0
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert import_annotations(other, tmp_path / "a.jsonl") == ImportResult(new=0, read=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda line, all_: b"{}\n", "missing"),
        (lambda line, all_: b"\n", "no JSON"),
        (lambda line, all_: line[:-20] + b"\n", "no JSON"),
        (lambda line, all_: b"\xff\xfe\n", "no JSON"),
        (lambda line, all_: line.replace(b'"certain":false', b'"certain":"no"'), "certain"),
        (lambda line, all_: line.replace(b'"shape":[3', b'"shape":[9'), "region"),
        (lambda line, all_: line.replace(b'"code":"129742005"', b'"code":""'), "code"),
        (lambda line, all_: all_[0].replace(b'"certain":false', b'"certain":true'), "another annotation"),
        (lambda line, all_: all_[3].replace(b'"withdraws":"', b'"withdraws":"0'), "withdraws"),
    ],
)
def test_a_wrong_line_is_reported_by_its_number_and_nothing_is_imported(
    store: AnnotationStore,
    other: AnnotationStore,
    say: Say,
    tmp_path: Path,
    spoil: Callable[[bytes, list[bytes]], bytes],
    message: str,
) -> None:
    first = say()
    store.append_all([first, say(), say(), withdrawal(first, "B")])
    file = tmp_path / "a.jsonl"
    export_annotations(store, file)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = spoil(lines[2], lines)
    file.write_bytes(b"".join(lines))

    with pytest.raises(ExchangeError, match=message) as refused:
        import_annotations(other, file)

    assert "Line 3 of a.jsonl" in str(refused.value)
    assert "Nothing was imported" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert other.head() == 0


def test_a_withdrawal_before_what_it_withdraws_is_refused(
    store: AnnotationStore, other: AnnotationStore, annotations: list[Annotation], tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    export_annotations(store, file)
    file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(ExchangeError, match="Line 2"):
        import_annotations(other, file)


def test_an_export_that_cannot_be_written_leaves_the_older_one(
    store: AnnotationStore, annotations: list[Annotation], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("older")
    with pytest.raises(WriteError):
        export_annotations(store, tmp_path / "file" / "a.jsonl")
    assert (tmp_path / "file").read_text() == "older"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in ("annotations", *words)])
    return int(left.value.code or 0)


def test_from_one_state_folder_to_another(
    tmp_path: Path, say: Say, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "studies").mkdir()
    first, second = say(comment="[red]no markup"), say(image="phantom-2", certain=True)
    with AnnotationStore(tmp_path / "studies-otherwise" / "annotations.sqlite") as store:
        store.append_all([first, second, withdrawal(second, "B")])

    assert run("export", "--studies", tmp_path / "studies", "--out", tmp_path / "a.jsonl") == 0
    assert run("import", tmp_path / "a.jsonl", "--state", tmp_path / "new") == 0
    assert "3 of 3 annotations were new." in capsys.readouterr().out
    assert run("import", tmp_path / "a.jsonl", "--state", tmp_path / "new") == 0
    assert "0 of 3" in capsys.readouterr().out
    assert run("export", "--database", tmp_path / "new" / "annotations.sqlite", "--out", tmp_path / "b.jsonl") == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()

    capsys.readouterr()
    assert run("list", "--state", tmp_path / "new", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)["annotations"]
    assert Annotation.from_json(listed) == first
    assert run("list", "--state", tmp_path / "new") == 0
    printed = capsys.readouterr().out
    for words in ("Spiculated lesion (unsure)", "Reader Ä", "9 voxels", "[red]no markup"):
        assert words in printed
    assert "phantom-2" not in printed
    assert run("list", "--state", tmp_path / "new", "--image", "phantom-2", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"annotations": []}


def test_between_sqlite_and_postgresql(postgres: Callable[[], str], tmp_path: Path, say: Say) -> None:
    url = postgres()
    with AnnotationStore(url) as store:
        store.append_all([say(), say(region=None)])
    assert run("export", "--database", url, "--out", tmp_path / "a.jsonl") == 0
    assert run("import", tmp_path / "a.jsonl", "--state", tmp_path / "new") == 0
    assert run("export", "--state", tmp_path / "new", "--out", tmp_path / "b.jsonl") == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["list", "--state", "x", "--database", "y"],
        ["list", "--state", "absent"],
        ["export", "--state", "absent", "--out", "a.jsonl"],
        ["export", "--state", "absent"],
        ["import", "absent.jsonl", "--state", "new"],
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_makes_nothing(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == EXIT_REFUSED
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
