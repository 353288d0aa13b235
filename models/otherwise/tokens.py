"""A file of tokens: people and their roles. It holds only the SHA-256 of each token.

One line a user, ``NAME ROLE SHA256``; empty lines and lines that begin with ``#`` are left alone. A token has 256
random bits, so a plain hash cannot be guessed back, and needs neither salt nor a slow function.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from filelock import FileLock

from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path

PREFIX = "otherwise_"
"""Lets those who search files for forgotten secrets know ours."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
HEADER = "# name role sha256-of-token; written by: otherwise tokens add | revoke\n"


class TokensError(OtherwiseError):
    """The file of tokens cannot be used."""

    code = "tokens"
    status = 503


class Role(IntEnum):
    """The rights of a person; each role includes those before it."""

    READER = 1
    ANNOTATOR = 2
    ADMIN = 3


@dataclass(frozen=True)
class Holder:
    """A person with a token.

    Attributes:
        name: Written into what they say.
        role: What they may do.
        digest: SHA-256 of their token, in hexadecimal.
    """

    name: str
    role: Role
    digest: str

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            TokensError: if the name or the digest is malformed.
        """
        if not NAME.fullmatch(self.name):
            raise TokensError(f"{self.name[:64]!r} is no name.", "Use letters, digits and . _ @ -, at most 64.")
        if not re.fullmatch(r"[0-9a-f]{64}", self.digest):
            raise TokensError(f"The line of {self.name} has no SHA-256.", "Make lines by: otherwise tokens add.")


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def role_named(name: str) -> Role:
    """Return the role of this name.

    Raises:
        TokensError: if there is none.
    """
    try:
        return Role[name.upper()]
    except KeyError:
        known = ", ".join(role.name.lower() for role in Role)
        raise TokensError(f"There is no role {name[:32]!r}.", f"Choose of {known}.") from None


def holder_of(token: str, holders: Iterable[Holder]) -> Holder | None:
    """Return the holder of a token; the time does not depend on the token."""
    digest, found = digest_of(token), None
    for holder in holders:
        if hmac.compare_digest(holder.digest, digest):
            found = holder
    return found


def read_tokens(path: Path) -> tuple[Holder, ...]:
    """Read a file of tokens.

    Raises:
        TokensError: if it is absent, malformed, or open to users of the machine whom it does not concern.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise TokensError(
            f"The tokens {path.name} cannot be read: {reason}.", "Make the file by: otherwise tokens add NAME."
        ) from error
    # A group may read it, as groups are how containers share secrets.
    if os.name == "posix" and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise TokensError(f"The tokens {path.name} are open to other users.", f"Close them: chmod 600 {path.name}")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if any(len(words) != 3 for words in lines):
        raise TokensError(f"{path.name} has a line that is not: name role sha256.", "Make lines by: otherwise tokens.")
    holders = tuple(Holder(name, role_named(role), digest) for name, role, digest in lines)
    if len({holder.name for holder in holders}) < len(holders):
        raise TokensError(f"{path.name} has a name twice.", "Remove one of the lines.")
    return holders


def add_token(path: Path, name: str, role: Role, replace: bool = False) -> str:
    """Make a token for a person.

    Args:
        path: The file; made if absent.
        name: Who gets it.
        role: What they may do.
        replace: Whether an older token of theirs ends.

    Returns:
        The token, which is kept nowhere.

    Raises:
        TokensError: if the file cannot be used, or they have a token already.
        WriteError: if it cannot be written.
    """
    _refuse_link(path)
    token = PREFIX + secrets.token_urlsafe(32)
    new = Holder(name, role, digest_of(token))
    with _alone(path):
        holders = read_tokens(path) if path.exists() else ()
        if not replace and any(holder.name == name for holder in holders):
            raise TokensError(f"{name} has a token already.", "Give --replace to end it and make another.")
        _write(path, [*(holder for holder in holders if holder.name != name), new])
    return token


def revoke_token(path: Path, name: str) -> None:
    """Revoke a token; a running server notices at the next request.

    Raises:
        TokensError: if the file cannot be used, or they have none.
        WriteError: if it cannot be written.
    """
    _refuse_link(path)
    with _alone(path):
        holders = read_tokens(path)
        kept = [holder for holder in holders if holder.name != name]
        if len(kept) == len(holders):
            raise TokensError(f"{name[:64]} has no token.", "See: otherwise tokens list.")
        _write(path, kept)


class TokenFile:
    """A file of tokens that is read again after each change.

    Args:
        path: The file.

    Raises:
        TokensError: if it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self._holders = read_tokens(path)

    def holder(self, token: str) -> Holder | None:
        """Return the holder of a token, by the present content of the file.

        Raises:
            TokensError: if the file cannot be used any more; its earlier content does not count.
        """
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._holders = read_tokens(self.path)
            self._stamp = stamp
        return holder_of(token, self._holders)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode


def _refuse_link(path: Path) -> None:
    """Refuse to write through a symbolic link, which would replace the link or a file that others chose."""
    if path.is_symlink():
        raise TokensError(f"The tokens {path.name} are a symbolic link.", "Give the file itself.")


def _alone(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"), timeout=10)


def _write(path: Path, holders: Iterable[Holder]) -> None:
    lines = [f"{holder.name} {holder.role.name.lower()} {holder.digest}\n" for holder in holders]
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(HEADER + "".join(lines), encoding="utf-8")
