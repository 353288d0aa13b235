"""What an administrator may choose: the ``--conf KEY VALUE`` pairs of ``monailabel start_server``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lib.operations.logs import Form
from otherwise.annotations.vocabulary import PRESETS
from otherwise.errors import OtherwiseError

CLASSIFIER = "mammogram_classifier"
AGENT = "mammogram_agent"
KEYS = ("classifier", "agent", "device", "state", "trust_code", "upload_mib", "database", "vocabulary", "units")
ACCESS_KEYS = ("tokens",)
OPERATION_KEYS = ("log",)


class OptionError(OtherwiseError):
    """The server was started with something that it does not understand."""

    code = "option"


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        classifier: Bundle of the black box, or a shipped bundle's name.
        agent: Bundle of the counterfactual agent, or a shipped bundle's name.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        state: Folder for everything that the server keeps.
        trust_code: Whether bundles may bring Python of their own.
        upload_limit: Largest request in bytes.
        database: Path of a SQLite file, or URL, for what people say; None: in the state folder.
        units: Layer of the classifier whose units are named; empty: those of the agent's encoder.
        vocabulary: Names of preset vocabularies, and paths of YAML files.
        tokens: File of those who may use the server; None: whoever is on this machine.
        log: Form of the log of ``monailabel start_server``, ``text`` or ``json``.
    """

    classifier: str
    agent: str
    device: str
    state: Path
    trust_code: bool
    upload_limit: int
    database: str | None
    vocabulary: tuple[str, ...]
    units: str
    tokens: Path | None
    log: Form

    @classmethod
    def read(cls, conf: Mapping[str, str], studies: str) -> Options:
        """Understand ``conf``.

        Raises:
            OptionError: if a key or a value is unknown.
        """
        known = (*KEYS, *ACCESS_KEYS, *OPERATION_KEYS)
        unknown = [key for key in conf if key not in (*known, "server_mode")]  # the last is MONAI Label's own
        if unknown:
            raise OptionError(f"Unknown --conf {', '.join(unknown)}.", f"Known are {', '.join(known)}.")
        return cls(
            classifier=conf.get("classifier") or CLASSIFIER,
            agent=conf.get("agent") or AGENT,
            device=conf.get("device") or "auto",
            state=Path(conf["state"]).expanduser() if conf.get("state") else default_state(studies),
            trust_code=_switch("trust_code", conf.get("trust_code", "false")),
            upload_limit=_mebibytes("upload_mib", conf.get("upload_mib", "1024")),
            database=conf.get("database") or None,
            vocabulary=tuple(name for name in conf.get("vocabulary", "").split(",") if name) or PRESETS,
            units=conf.get("units", ""),
            tokens=Path(conf["tokens"]).expanduser().absolute() if conf.get("tokens") else None,
            log=_form(conf.get("log") or "text"),
        )


def default_state(studies: str) -> Path:
    """Name the folder beside the studies: inside, MONAI Label would watch every file that we write.

    Raises:
        OptionError: if the studies are no folder.
    """
    if studies.startswith(("http://", "https://")):
        raise OptionError("The studies are a server, so there is no folder beside them.", "Give --conf state DIR.")
    folder = Path(studies).resolve()
    return folder.with_name(f"{folder.name}-otherwise")


def choose_device(name: str) -> str:
    """Turn ``auto`` into the best device there is.

    Raises:
        OptionError: if the device does not exist here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and (not number or number.isdecimal()):
        if int(number or 0) < torch.cuda.device_count():
            return name
        raise OptionError(f"There is no device {name} on this machine.", "Use device auto or cpu.")
    if name != "cpu":
        raise OptionError(f"Device {name!r} is unknown.", "Use auto, cpu, cuda or cuda:N.")
    return name


def _form(value: str) -> Form:
    if value in ("text", "json"):
        return cast(Form, value)
    raise OptionError(f"--conf log {value[:32]} is unknown.", "Give text or json.")


def _switch(key: str, value: str) -> bool:
    if str(value).lower() in ("true", "yes", "on", "1"):
        return True
    if str(value).lower() in ("false", "no", "off", "0"):
        return False
    raise OptionError(f"--conf {key} {value} is neither true nor false.", "Give true or false.")


def _mebibytes(key: str, value: str) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise OptionError(f"--conf {key} {value} is not a size.", "Give a whole number of MiB, at least 1.")
    return int(value) * 1024 * 1024
