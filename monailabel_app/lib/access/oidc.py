"""MONAI Label's own login: tokens of an OpenID Connect realm (Keycloak), with the roles that its settings name.

MONAI Label's own check does not say which signatures it takes, which PyJWT refuses since 2.0, so that every token would
be turned away. This one takes RSA signatures, and reads the same settings.
"""

from __future__ import annotations

from typing import Any

import jwt
from fastapi.concurrency import run_in_threadpool
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_public_key

from lib.http.caller import Caller
from otherwise.errors import OtherwiseError
from otherwise.tokens import Role

ALGORITHMS = ("RS256", "RS384", "RS512")


class RealmError(OtherwiseError):
    """The realm that knows people is away."""

    code = "realm"
    status = 503


class Realm:
    """Knows people by tokens that a realm has signed."""

    async def identify(self, token: str) -> Caller | None:
        """Say whose token it is.

        Raises:
            RealmError: if the realm does not tell its key.
        """
        try:
            key = await run_in_threadpool(get_public_key, settings.MONAI_LABEL_AUTH_REALM_URI)
        except Exception as error:
            raise RealmError("The server of logins does not answer.", "Tell its administrator.") from error
        try:
            claims = jwt.decode(token, key, algorithms=ALGORITHMS, options={"verify_aud": False, "require": ["exp"]})
        except jwt.InvalidTokenError:
            return None
        return caller_of(claims)


def caller_of(claims: dict[str, Any]) -> Caller | None:
    """Who the claims of a token speak of; None where they name nobody, or nobody with a role here."""
    found: Any = claims
    for part in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        found = found.get(part) if isinstance(found, dict) else None
    named = set(found) if isinstance(found, list) else set()
    roles = {
        settings.MONAI_LABEL_AUTH_ROLE_USER: Role.READER,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER: Role.READER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR: Role.ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN: Role.ADMIN,
    }
    highest = max((role for name, role in roles.items() if name in named), default=None)
    user = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME)
    return Caller(user, highest) if isinstance(user, str) and user and highest else None
