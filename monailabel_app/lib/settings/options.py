"""The settings of the server: ``--conf KEY VALUE``, or the environment variable ``OTHERWISE_KEY``, or the default.

``otherwise serve`` has an option of its own for each that people need often.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from monailabel.config import settings
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lib.settings.option_values import OptionError, absolute, parse_node, parse_origin, parse_search, split
from otherwise.annotations.vocabulary import PRESETS
from otherwise.report.dicom.c_store import Node

LogFormat = Literal["text", "json"]
DrawingPrecision = Literal["auto", "fp32", "bf16"]
Size = Annotated[int, Field(ge=1)]
"""A whole number of MiB."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
"""Names, separated by commas."""

MIB = 1024 * 1024
WAITING = 32
"""Jobs that may wait; each holds its image in memory."""
WAITING_PER_USER = 16
RATE = 20.0
"""Requests a second that one user may send where people log in: far more than Slicer needs."""
NOT_OURS = ("server_mode",)
"""Keys of ``--conf`` that belong to MONAI Label."""


class Options(BaseSettings):
    """Settings of a server. The names of the fields are the keys of ``--conf``."""

    model_config = SettingsConfigDict(env_prefix="OTHERWISE_", env_ignore_empty=True, extra="forbid", frozen=True)

    studies: str = Field(description="Folder of images, or address of a DICOMweb server; no key of --conf")
    classifier: str = Field("mammogram_classifier", description="Bundle of the black box, or a shipped bundle's name")
    agent: str = Field("mammogram_agent", description="Bundle of its agent, or a shipped bundle's name")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: DrawingPrecision = Field("auto", description="In which the agent draws: auto, fp32 or bf16")
    state: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda fields: default_state(fields["studies"]),
        description="Folder for everything that the server keeps; by default beside the studies",
    )
    trust_code: bool = Field(False, description="Whether bundles may run Python code of their own")
    upload_mib: Size = Field(1024, description="Largest body of a request in MiB")
    reading_mib: Size | None = Field(
        None, description="Memory in MiB that all images may take together; by default 40 % of the machine's"
    )
    database: str | None = Field(
        None, description="SQLite file or PostgreSQL URL of the annotations; by default in the state folder"
    )
    vocabulary: Names = Field(PRESETS, description="Preset vocabularies and YAML files, separated by commas")
    units: str = Field("", description="Layer of the classifier whose units are named, or agent")
    dicomweb_search: Annotated[Mapping[str, str], NoDecode, BeforeValidator(parse_search)] = Field(
        {}, description="Attributes that series of an archive must have, as Modality=MG,StudyDate=20260101-"
    )
    dicomweb_cache_mib: Size = Field(20 * 1024, description="Images of the archive to keep on disk, in MiB")
    store_to: Annotated[InstanceOf[Node] | None, NoDecode, BeforeValidator(parse_node)] = Field(
        None, description="Archive that explanations are sent to by C-STORE, AET@HOST:PORT; by default by STOW-RS"
    )
    waiting: int = Field(WAITING, ge=1, description="Jobs that may wait")
    waiting_per_user: int = Field(WAITING_PER_USER, ge=1, description="Jobs of one user that may wait")
    deadline_seconds: Positive = Field(6 * 3600.0, description="Seconds that a job may take, its waiting included")
    keep_days: Positive | None = Field(
        None, description="Age in days at which explanations are removed; by default never"
    )
    keep_gib: Positive | None = Field(None, description="Room in GiB for all explanations; by default any")
    tokens: Annotated[Path | None, AfterValidator(absolute)] = Field(
        None, description="File of the people who may use the server; by default whoever knows its secret"
    )
    origins: Annotated[tuple[Annotated[str, AfterValidator(parse_origin)], ...], NoDecode, BeforeValidator(split)] = (
        Field((), description="Web pages whose scripts may use the server, as https://viewer.example, by commas")
    )
    rate: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Requests a second of one user; 0: any; by default 20 with a login"
    )
    log: LogFormat = Field("text", description="Form of the log, text or json")

    @classmethod
    def read(cls, conf: Mapping[str, str], studies: str) -> Options:
        """Read the settings.

        Args:
            conf: The pairs of ``--conf``; an empty value counts as not given.
            studies: Folder of images, or address of a DICOMweb server.

        Raises:
            OptionError: if a key or a value is unknown.
            NodeError: if ``store_to`` is malformed.
        """
        keys = [name for name in cls.model_fields if name != "studies"]
        unknown = [key for key in conf if key not in (*keys, *NOT_OURS)]
        if unknown:
            raise OptionError(f"Unknown --conf {', '.join(unknown)}.", f"Known are {', '.join(keys)}.")
        given: dict[str, Any] = {key: value for key, value in conf.items() if key in keys and value != ""}
        try:
            return cls(studies=studies, **given)
        except ValidationError as error:
            raise _explained(error) from None

    @property
    def rate_limit(self) -> float | None:
        """Return the requests a second that one user may send on average; None: any."""
        logs_in = self.tokens is not None or settings.MONAI_LABEL_AUTH_ENABLE
        return (self.rate if self.rate is not None else RATE if logs_in else 0.0) or None


def _explained(error: ValidationError) -> OptionError:
    """Return the first of pydantic's errors in one line."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    reason = first["msg"].removeprefix("Value error, ")
    about = Options.model_fields[key].description or ""
    return OptionError(
        f"--conf {key} (or OTHERWISE_{key.upper()}) cannot be {str(first['input'])[:40]!r}: {reason}.",
        f"It means: {about}." if about else "Correct it.",
    )


def default_state(studies: str) -> Path:
    """Return the folder beside the studies: inside, MONAI Label would watch every file that we write.

    Raises:
        OptionError: if the studies are no folder.
    """
    if studies.startswith(("http://", "https://")):
        raise OptionError("The studies are a server, so there is no folder beside them.", "Give --conf state DIR.")
    folder = Path(studies).resolve()
    return folder.with_name(f"{folder.name}-otherwise")


def choose_device(name: str) -> str:
    """Return the device of a name, and for ``auto`` the best one there is.

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
