"""``otherwise tokens``, and the file it keeps."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from otherwise.cli import build, run
from otherwise.tokens import (
    Holder,
    Role,
    TokenFile,
    TokensError,
    add_token,
    digest_of,
    holder_of,
    read_tokens,
    revoke_token,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "tokens.txt"


def tokens(*words: object) -> int:
    return run(build, ["tokens", *map(str, words)])


def test_a_token_is_printed_once_and_kept_as_a_hash(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokens("add", "Ann", "--role", "annotator", "--tokens", file) == 0
    token = capsys.readouterr().out.strip()

    assert token.startswith("otherwise_")
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert TokenFile(file).holder(token) == Holder("Ann", Role.ANNOTATOR, digest_of(token))


def test_a_second_token_of_the_same_name_ends_the_first_when_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens("add", "Ann", "--tokens", file)
    first = capsys.readouterr().out.strip()

    assert tokens("add", "Ann", "--tokens", file) == 2
    assert "--replace" in capsys.readouterr().err
    assert tokens("add", "Ann", "--role", "admin", "--replace", "--tokens", file) == 0
    second = capsys.readouterr().out.strip()

    known = TokenFile(file)
    assert known.holder(first) is None
    assert known.holder(second).role == Role.ADMIN  # type: ignore[union-attr]


def test_list_and_revoke(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens("add", "Ann", "--tokens", file)
    tokens("add", "Rea", "--role", "reader", "--tokens", file)
    capsys.readouterr()
    tokens("list", "--tokens", file, "--json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "Ann", "role": "annotator"},
        {"name": "Rea", "role": "reader"},
    ]

    assert tokens("revoke", "Ann", "--tokens", file) == 0
    assert [holder.name for holder in read_tokens(file)] == ["Rea"]
    assert tokens("revoke", "Ann", "--tokens", file) == 2


@pytest.mark.parametrize("name", ["", "two words", "a/b", "x" * 65, "line\nAda admin", "-x"])
def test_names_that_would_break_the_file_are_refused(file: Path, name: str) -> None:
    assert tokens("add", "--tokens", file, "--", name) == 2
    assert not file.exists()


@pytest.mark.parametrize("mode", [0o604, 0o606, 0o620, 0o666])
def test_a_file_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    tokens("add", "Ann", "--tokens", file)
    file.chmod(mode)

    with pytest.raises(TokensError, match="chmod 600"):
        read_tokens(file)


@pytest.mark.parametrize("text", ["Ann admin", "Ann admin xyz", f"Ann king {'0' * 64}", "\udcff", "Ann\n"])
def test_a_malformed_file_is_refused(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.touch(mode=0o600)
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(TokensError):
        read_tokens(file)


@given(some.text(max_size=60))
def test_no_other_words_are_a_token(token: str) -> None:
    holders = [Holder("Ann", Role.ADMIN, digest_of("otherwise_secret"))]

    assert holder_of(token, holders) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.7.7", "::", "a-host.example"])
def test_a_server_for_other_machines_does_not_start_without_tokens(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MONAI_LABEL_AUTH_ENABLE", raising=False)

    assert run(build, ["serve", "--studies", str(tmp_path), "--host", host]) == 2
    assert "--tokens" in capsys.readouterr().err


def test_a_server_does_not_start_with_tokens_that_are_open_to_all(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens("add", "Ann", "--tokens", file)
    file.chmod(0o644)

    assert run(build, ["serve", "--studies", str(tmp_path), "--host", "0.0.0.0", "--tokens", str(file)]) == 2
    assert "chmod" in capsys.readouterr().err


def test_tokens_are_not_written_through_a_symbolic_link(tmp_path: Path) -> None:
    """The link may be somebody else's choice of a place, and replacing it would leave the old tokens valid there."""
    file, link = tmp_path / "tokens.txt", tmp_path / "link.txt"
    add_token(file, "Ann", Role.READER)
    before = file.read_bytes()
    link.symlink_to(file)
    with pytest.raises(TokensError, match="symbolic link"):
        add_token(link, "Ben", Role.ADMIN)
    with pytest.raises(TokensError, match="symbolic link"):
        revoke_token(link, "Ann")
    assert link.is_symlink()
    assert file.read_bytes() == before
