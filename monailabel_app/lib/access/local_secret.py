"""The secret of a server without tokens: users who know it are administrators, and nobody else has access."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from lib.http.caller import Caller
from lib.storage.explanation_store import StorageError
from otherwise.tokens import Role

ENVIRONMENT = "OTHERWISE_SECRET"
FILE_NAME = "secret"
LEAST_LENGTH = 20


class LocalSecret:
    """Identifies the administrator by one secret.

    The addresses that a request carries cannot tell whether its client is on this machine: a reverse proxy in its usual
    configuration rewrites the Host header and adds nothing. A secret can.

    Args:
        secret: At least ``LEAST_LENGTH`` characters.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def check(self) -> None:
        """Do nothing: the secret is always available."""

    async def identify(self, token: str) -> Caller | None:
        """Return the administrator for the secret, and None for anything else."""
        same = hmac.compare_digest(token.encode(errors="replace"), self.secret.encode())
        return Caller("", Role.ADMIN) if same else None


def read_secret(state: Path) -> str:
    """Return the secret of a state folder; make one on the first start.

    The environment variable ``OTHERWISE_SECRET`` goes first. The file is readable by its owner only.

    Raises:
        StorageError: if the file cannot be read or written, or the environment's secret is too short.
    """
    given = os.environ.get(ENVIRONMENT, "")
    if given:
        if len(given) < LEAST_LENGTH:
            raise StorageError(f"{ENVIRONMENT} is shorter than {LEAST_LENGTH} characters.", "Give a longer one.")
        return given
    file = state / FILE_NAME
    try:
        state.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            raise StorageError("The secret of the state folder is a symbolic link.", f"Remove {file}.")
        if file.is_file():
            file.chmod(0o600)
            found = file.read_text(encoding="ascii", errors="replace").strip()
            if len(found) >= LEAST_LENGTH and found.isascii():
                return found
            file.unlink()
        made = secrets.token_urlsafe(32)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as opened:
            opened.write(made + "\n")
        return made
    except OSError as error:
        raise StorageError(
            f"The secret cannot be kept in the state folder ({type(error).__name__}).", "Give another one as state."
        ) from error
