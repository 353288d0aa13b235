"""What an administrator may choose about access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KEYS = ("tokens",)


@dataclass(frozen=True)
class AccessOptions:
    """Who may use the server.

    Attributes:
        tokens: File of those who may; None: whoever is on this machine.
    """

    tokens: Path | None = None

    @classmethod
    def read(cls, conf: Mapping[str, str]) -> AccessOptions:
        """Understand ``conf``."""
        return cls(tokens=Path(conf["tokens"]).expanduser().absolute() if conf.get("tokens") else None)
