"""What an administrator may choose: the ``--conf KEY VALUE`` pairs of ``monailabel start_server``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from lib.settings.access import KEYS as ACCESS_KEYS
from lib.settings.access import AccessOptions
from otherwise.annotations.vocabulary import PRESETS
from otherwise.errors import OtherwiseError
from otherwise.report.dicom.c_store import Node

LogFormat = Literal["text", "json"]

WAITING = 32
"""Jobs that may wait; each holds its image in memory."""
WAITING_PER_USER = 16
CLASSIFIER = "mammogram_classifier"
AGENT = "mammogram_agent"
JOB_KEYS = ("waiting", "waiting_per_user", "deadline_seconds", "keep_days", "keep_gib")
KEYS = (
    *("classifier", "agent", "device", "state", "trust_code", "upload_mib", "database", "vocabulary", "units"),
    *("dicomweb_search", "dicomweb_cache_mib", "reading_mib", "store_to"),
)
ALL_KEYS = (*KEYS, *JOB_KEYS, *ACCESS_KEYS, "log")


class OptionError(OtherwiseError):
    """The server was started with something that it does not understand."""

    code = "option"


@dataclass(frozen=True)
class JobOptions:
    """Limits of jobs.

    Attributes:
        waiting: How many may wait; each holds its image in memory.
        waiting_per_user: How many of one user may.
        deadline_seconds: How long any may take, its waiting included.
        keep_days: Age at which explanations are removed; None: never.
        keep_gib: Room that explanations may take in all; None: any.
    """

    waiting: int = WAITING
    waiting_per_user: int = WAITING_PER_USER
    deadline_seconds: float = 6 * 3600.0
    keep_days: float | None = None
    keep_gib: float | None = None

    @classmethod
    def read(cls, conf: Mapping[str, str]) -> JobOptions:
        """Understand ``conf``.

        Raises:
            OptionError: if a value is unknown.
        """
        return cls(
            waiting=int(_positive(conf, "waiting", cls.waiting, whole=True)),
            waiting_per_user=int(_positive(conf, "waiting_per_user", cls.waiting_per_user, whole=True)),
            deadline_seconds=_positive(conf, "deadline_seconds", cls.deadline_seconds),
            keep_days=_positive(conf, "keep_days", 0) if conf.get("keep_days") else None,
            keep_gib=_positive(conf, "keep_gib", 0) if conf.get("keep_gib") else None,
        )


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
        reading_bytes: Memory that all images together may take, in bytes; 0: a share of the machine's.
        database: Path of a SQLite file, or URL, for what people say; None: in the state folder.
        jobs: How many jobs may wait, how long, and how long their results are kept.
        units: Layer of the classifier whose units are named; see ``unit_reader``.
        vocabulary: Names of preset vocabularies, and paths of YAML files.
        archive_search: Attributes that series of a DICOMweb archive must have to be listed.
        archive_cache: Bytes of the archive's images to keep on disk.
        store_to: Archive that explanations are sent to by C-STORE, ``AET@HOST:PORT``; None: by
            STOW-RS where the studies are an archive's.
        access: Who may use the server.
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
    jobs: JobOptions
    access: AccessOptions
    log: LogFormat
    archive_search: Mapping[str, str] = field(default_factory=dict)
    archive_cache: int = 20 * 1024**3
    reading_bytes: int = 0
    store_to: Node | None = None

    @classmethod
    def read(cls, conf: Mapping[str, str], studies: str) -> Options:
        """Understand ``conf``.

        Raises:
            OptionError: if a key or a value is unknown.
            NodeError: if ``store_to`` is malformed.
        """
        unknown = [key for key in conf if key not in (*ALL_KEYS, "server_mode")]  # the last is MONAI Label's own
        if unknown:
            raise OptionError(f"Unknown --conf {', '.join(unknown)}.", f"Known are {', '.join(ALL_KEYS)}.")
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
            jobs=JobOptions.read(conf),
            archive_search=_search("dicomweb_search", conf.get("dicomweb_search", "")),
            archive_cache=_mebibytes("dicomweb_cache_mib", conf.get("dicomweb_cache_mib", "20480")),
            access=AccessOptions.read(conf),
            reading_bytes=_mebibytes("reading_mib", conf["reading_mib"]) if conf.get("reading_mib") else 0,
            store_to=Node.parse(conf["store_to"]) if conf.get("store_to") else None,
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


def _form(value: str) -> LogFormat:
    if value in ("text", "json"):
        return cast(LogFormat, value)
    raise OptionError(f"--conf log {value[:32]} is unknown.", "Give text or json.")


def _switch(key: str, value: str) -> bool:
    if str(value).lower() in ("true", "yes", "on", "1"):
        return True
    if str(value).lower() in ("false", "no", "off", "0"):
        return False
    raise OptionError(f"--conf {key} {value} is neither true nor false.", "Give true or false.")


def _positive(conf: Mapping[str, str], key: str, default: float, whole: bool = False) -> float:
    value = str(conf.get(key) or default)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf or (whole and not number.is_integer()):
        raise OptionError(
            f"--conf {key} {value[:40]} is no {'whole ' if whole else ''}number above 0.", "Give one, or leave it away."
        )
    return number


def _search(key: str, value: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    if not all(re.fullmatch(r"[A-Za-z]+|[0-9A-Fa-f]{8}", name) and wanted for name, _, wanted in pairs):
        raise OptionError(f"--conf {key} {value} is no search.", "Give Modality=MG,StudyDate=20260101- or the like.")
    return {name: wanted for name, _, wanted in pairs}


def _mebibytes(key: str, value: str) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise OptionError(f"--conf {key} {value} is not a size.", "Give a whole number of MiB, at least 1.")
    return int(value) * 1024 * 1024
