"""The choice of how users are authenticated."""

from __future__ import annotations

from pathlib import Path

from monailabel.config import settings

from lib.access.authentication import Authenticator, Tokens
from lib.access.local_secret import LocalSecret, read_secret
from lib.access.oidc import Realm
from otherwise.tokens import TokenFile


def choose_authenticator(tokens: Path | None, state: Path) -> Authenticator:
    """Return the authenticator of this server: by a file of tokens, MONAI Label's realm, or the server's secret.

    Args:
        tokens: The file of tokens; None: there is none.
        state: Folder in which the secret is kept.

    Raises:
        OtherwiseError: if the file of tokens or the secret cannot be used.
    """
    if tokens:
        return Tokens(TokenFile(tokens))
    return Realm() if settings.MONAI_LABEL_AUTH_ENABLE else LocalSecret(read_secret(state))
