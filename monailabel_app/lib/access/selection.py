"""What knows people on this server, by how it was started."""

from __future__ import annotations

from monailabel.config import settings

from lib.access.authentication import Authenticator, Tokens
from lib.access.oidc import Realm
from lib.settings.access import AccessOptions
from otherwise.tokens import TokenFile


def authenticator(options: AccessOptions) -> Authenticator | None:
    """What knows people: a file of tokens, MONAI Label's realm, or, on a machine by itself, nothing.

    Raises:
        OtherwiseError: if the file of tokens cannot be used.
    """
    if options.tokens:
        return Tokens(TokenFile(options.tokens))
    return Realm() if settings.MONAI_LABEL_AUTH_ENABLE else None
