"""What an administrator may choose about access."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monailabel.config import settings

from otherwise.errors import OtherwiseError

KEYS = ("tokens", "origins", "rate")
ORIGIN = re.compile(r"https?://[^/\s,*]+")
RATE = 20.0
"""Requests a second that one user may send where people log in: far more than Slicer needs."""


class AccessOptionError(OtherwiseError):
    """The server was started with something that it does not understand."""

    code = "option"


@dataclass(frozen=True)
class AccessOptions:
    """Who may use the server, from where, and how often.

    Attributes:
        tokens: File of those who may; None: whoever is on this machine.
        origins: Web pages, by scheme, host and port, whose scripts may read answers; the server's own always may.
        rate: Requests a second that one user may send in the long run; None: any.
    """

    tokens: Path | None = None
    origins: tuple[str, ...] = ()
    rate: float | None = None

    @classmethod
    def read(cls, conf: Mapping[str, str]) -> AccessOptions:
        """Understand ``conf``.

        Raises:
            AccessOptionError: if a value is unknown.
        """
        tokens = Path(conf["tokens"]).expanduser().absolute() if conf.get("tokens") else None
        origins = tuple(_origin(origin) for origin in conf.get("origins", "").split(",") if origin)
        usual = RATE if tokens or settings.MONAI_LABEL_AUTH_ENABLE else 0
        return cls(tokens, origins, _rate(conf.get("rate") or str(usual)))


def _origin(text: str) -> str:
    origin = text.strip().rstrip("/").lower()
    if not ORIGIN.fullmatch(origin):
        raise AccessOptionError(f"{text[:64]!r} is no origin.", "Give scheme and host, as https://viewer.example:8443.")
    return origin


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise AccessOptionError(f"--conf rate {text[:32]} is no rate.", "Give requests a second; 0: any number.")
    return rate or None
