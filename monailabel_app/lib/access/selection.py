"""Choose how users are known, by how the server was started."""

from __future__ import annotations

from pathlib import Path

from monailabel.config import settings

from lib.access.authentication import Authenticator, Tokens
from lib.access.local_secret import LocalSecret, read_secret
from lib.access.oidc import Realm
from lib.settings.access import AccessOptions
from otherwise.tokens import TokenFile


def choose_authenticator(options: AccessOptions, state: Path) -> Authenticator:
    """Return what knows the users of this server: a file of tokens, MONAI Label's realm, or the server's secret.

    Args:
        options: What the server was started with.
        state: Folder in which the secret is kept.

    Raises:
        OtherwiseError: if the file of tokens or the secret cannot be used.
    """
    if options.tokens:
        return Tokens(TokenFile(options.tokens))
    return Realm() if settings.MONAI_LABEL_AUTH_ENABLE else LocalSecret(read_secret(state))
