"""Checkpoints that resume exactly and are never written in part."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from otherwise.errors import AgentError


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values to a temporary name, then rename; the last good checkpoint survives any failure.

    Raises:
        AgentError: if the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            temporary.unlink()
        raise AgentError(
            f"The checkpoint {path.name} could not be written ({error}).", "Free disk space, then --resume."
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted (``weights_only``).

    Raises:
        AgentError: if there is none, or it is damaged.
    """
    if not path.is_file():
        raise AgentError(f"There is no checkpoint {path.name} to resume from.", "Start without --resume.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise AgentError(f"The checkpoint {path.name} is damaged.", "Delete it and start without --resume.") from error
    return state
