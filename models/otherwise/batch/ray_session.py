"""A session of Ray for one batch: on this machine alone, or on a running cluster."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from otherwise.batch.errors import BatchError

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
"""Ray reports nothing to its makers, and prints nothing on our standard output."""
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""By this name Ray knows machines that are no cluster: all its ports are then bound to 127.0.0.1, on Linux too."""
_ADDRESS = re.compile(r"(ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start Ray on this machine: without dashboard, on the loopback interface, for us alone.

    Args:
        address: ``host:port`` from one of the cluster's machines, ``ray://host:port`` from any other; None: this
            machine.

    Yields:
        The module ``ray``, connected; disconnected, and what was started stopped, when the block ends.

    Raises:
        BatchError: if Ray is not installed, or does not start, or no cluster answers.
    """
    if address is not None:
        _refuse_silence(address)
    with ExitStack() as stack:
        # Before the import, since Ray reads some of it then.
        stack.enter_context(_environment(_QUIET if address else {**_QUIET, **_LOOPBACK, **_token()}))
        try:
            import ray
        except ImportError as error:
            raise BatchError(
                "Several workers need Ray, which is not installed.",
                "pip install 'slicer-otherwise[cluster]', or leave out --workers and --cluster.",
            ) from error
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            folder = stack.enter_context(_short_folder())
            options |= {"num_cpus": cores(), "include_dashboard": False, "_temp_dir": folder}
        stack.callback(ray.shutdown)
        try:
            ray.init(address or "local", **options)
        except Exception as error:  # Ray raises many kinds
            if address is None:
                raise BatchError("Ray does not start on this machine.", "Use --workers 1.") from error
            raise BatchError(
                f"The Ray cluster at {address} does not let us in ({type(error).__name__}).",
                "Give its token in RAY_AUTH_TOKEN; have the same Python and Ray; say ray://host:port from outside.",
            ) from error
        yield ray


def cores() -> int:
    """Return the number of processors of this machine."""
    return os.cpu_count() or 1


def gpu_share(workers: int, gpus: int) -> float:
    """Return the share of a GPU of each worker: the largest with which all workers fit, whole if possible."""
    return 1 / math.ceil(workers / gpus) if gpus else 0.0


def _refuse_silence(address: str) -> None:
    """Refuse an address that does not answer; Ray itself would wait there for minutes."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65_535:  # the system would take such a port modulo 65,536
        raise BatchError(f"{address!r} is no address of a Ray cluster.", "Give host:port or ray://host:port.")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=10).close()
    except OSError as error:
        raise BatchError(f"Nothing answers at {address}.", "Start the cluster (ray start), or correct it.") from error


def _token() -> dict[str, str]:
    """Return a secret of this run, so that other users of this machine cannot run code in our Ray."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _short_folder() -> Iterator[str]:
    """Make a folder for Ray's logs and sockets, whose paths may have about a hundred characters."""
    folder = tempfile.mkdtemp(prefix="otherwise-", dir="/tmp" if os.name == "posix" else None)
    try:
        yield folder
    finally:
        for _ in range(20):  # Ray's processes may still be writing their last words
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.lexists(folder):
                break
            time.sleep(0.1)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
