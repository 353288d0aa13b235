"""Errors that end a batch, and failures of single images."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise import __version__
from otherwise.errors import OtherwiseError


class BatchError(OtherwiseError):
    """A batch cannot be started or continued."""

    code = "batch"
    status = 409


@dataclass(frozen=True)
class Failure:
    """The reason why an image has no explanation.

    Attributes:
        error: Kind of error, as ``OtherwiseError.code``; ``unexpected`` and ``worker-died`` besides.
        detail: What is wrong.
        hint: What to do about it.
    """

    error: str
    detail: str
    hint: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return what a person needs to know of an error; of errors that are not ours only the kind."""
        if isinstance(error, OtherwiseError):
            return cls(error.code, error.detail, error.hint)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return cls("out-of-memory", "The memory was not enough.", "Use fewer workers, or crop the image.")
        return cls(
            "unexpected",
            f"An unexpected error: {type(error).__name__}.",
            "Explain this image by itself (otherwise explain IMAGE) to see more.",
        )

    @classmethod
    def of_disk(cls, error: OSError) -> Failure:
        """Return the failure of a worker whose temporary folder cannot be used."""
        return cls("worker", f"A worker's disk fails: {error.strerror}.", "Free some space there, try again.")

    @classmethod
    def of_version(cls, version: str) -> Failure | None:
        """Return the failure of a worker that has another version than the caller's; None if it has the same."""
        if version == __version__:
            return None
        return cls("batch", f"Otherwise is {__version__} there and {version} here.", "Install one version everywhere.")


MOST_DEATHS = 2
"""An image at which so many processes have died is taken to be the cause and is skipped."""
DIED = Failure(
    "worker-died",
    "Twice a process died while it explained this image.",
    "It may need more memory than there is, or make a library crash: explain it by itself.",
)
