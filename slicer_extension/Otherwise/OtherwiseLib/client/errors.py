"""The error of a server that does not do what it was asked, in words for the user."""

from __future__ import annotations


class ServerError(Exception):
    """A request to the server failed.

    Attributes:
        kind: ``address``, ``unreachable``, ``not-monailabel``, ``not-otherwise``, ``unauthorised``, ``busy``,
            ``too-old``, ``refused`` or ``broken``; the logic has a few of its own.
        detail: What is wrong, one sentence.
        hint: What to do, one sentence; may be empty.
        status: HTTP status of a refusal; 0 for every other kind.
        reason: The server's own words, for ``unauthorised``; may be empty.
    """

    def __init__(self, kind: str, detail: str, hint: str = "", status: int = 0, reason: str = "") -> None:
        super().__init__(f"{detail} {hint}".strip())
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.status = status
        self.reason = reason


def broken(expected: str) -> ServerError:
    """Return the error for an answer that cannot be understood.

    Args:
        expected: What the answer should have been, such as "a list of images".
    """
    return ServerError(
        "broken", f"The server did not send {expected}.", "Try again, or ask the server's administrator."
    )
