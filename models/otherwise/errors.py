"""The one family of errors: each says in one line what is wrong and what to do."""

from __future__ import annotations


class OtherwiseError(Exception):
    """An error that the user can correct.

    Args:
        detail: One line that says what is wrong, with the offending value.
        hint: One line that says what to do about it.

    Attributes:
        code: Stable machine-readable name of the kind of error (kebab-case), the ``error`` of an HTTP reply.
        status: HTTP status that a server should answer with.
    """

    code = "error"
    status = 400

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(f"{detail} {hint}".strip())
        self.detail = detail
        self.hint = hint


class ImageError(OtherwiseError):
    """An image cannot be read, is damaged, or does not suit the model."""

    code = "image"
    status = 422


class BundleError(OtherwiseError):
    """A bundle is missing, broken, or contains something that we refuse to load."""

    code = "bundle"
    status = 422


class ClassifierError(OtherwiseError):
    """A hosted classifier's answer is not a set of probabilities."""

    code = "classifier"
    status = 502


class AgentError(OtherwiseError):
    """An agent does not fit the classifier, or cannot be trained as asked."""

    code = "agent"
    status = 422


class CancelledError(OtherwiseError):
    """The caller asked to stop."""

    code = "cancelled"
    status = 409
