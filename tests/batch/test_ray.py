"""The same archive by two workers on Ray, some of which die."""

from __future__ import annotations

import ipaddress
import json
import math
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otherwise.batch.errors import BatchError
from otherwise.batch.executor import InProcess
from otherwise.batch.ray_executor import RayExecutor
from otherwise.batch.ray_session import gpu_share
from otherwise.batch.run import run_batch
from otherwise.batch.worker import BatchOrder
from otherwise.cli.explain_all import SOME_FAILED


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As each worker has here; with another number of threads sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process and what it started can be reached."""
    found = set()
    for one in (process, *process.children(recursive=True)):
        try:
            found |= {link.laddr.ip for link in one.net_connections("inet") if link.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    return found


def timeless(path: Path) -> dict[str, dict]:
    return {row["image"]: {**row, "seconds": None} for row in pyarrow.parquet.read_table(path).to_pylist()}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_workers_find_the_same_as_this_process_and_survive_deaths(
    archive: Path,
    order: BatchOrder,
    tmp_path: Path,
    draw: Callable[..., Path],
    batch: Callable[..., subprocess.Popen[str]],
    first: Callable[[Path], dict[str, bytes]],
) -> None:
    pytest.importorskip("ray", reason="Ray (extra: cluster) is not installed")
    alone = timeless(run_batch(archive, tmp_path / "alone", InProcess(order), order.request).table)
    draw(archive / "deadly.nrrd", 0.0)
    draw(archive / "deadly once.nrrd", 0.005)
    out = tmp_path / "out"

    with batch(archive, out, "--workers", 2, "--json") as process:
        assert first(out)
        addresses = listening(psutil.Process(process.pid))
        output, warned = process.communicate(timeout=240)

    assert process.returncode == SOME_FAILED, warned
    assert "Traceback" not in warned
    assert json.loads(output)["failed"] == 2
    found = timeless(out / "results.parquet")
    assert found.pop("deadly.nrrd")["error"] == "worker-died"
    assert found.pop("deadly once.nrrd")["status"] == "explained"
    assert found == alone
    assert addresses
    assert all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses)


@given(workers=st.integers(1, 200), gpus=st.integers(0, 64))
def test_every_worker_has_room_on_a_gpu(workers: int, gpus: int) -> None:
    share = gpu_share(workers, gpus)
    assert 0 <= share <= 1
    assert (share == 0) == (gpus == 0)
    assert not gpus or gpus * math.floor(1 / share + 1e-9) >= workers


def test_without_ray_several_workers_are_refused(order: BatchOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BatchError, match=r"slicer-otherwise\[cluster\]"):
        RayExecutor(order, 2).start()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nonsense", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_known_at_once(address: str, order: BatchOrder) -> None:
    with pytest.raises(BatchError, match=r"Nothing answers|no address"):
        RayExecutor(order, 2, address).start()


def test_a_port_that_cannot_be_is_not_taken_for_another(order: BatchOrder) -> None:
    with listener_below(34_464) as listener, pytest.raises(BatchError, match="no address"):
        RayExecutor(order, 2, f"127.0.0.1:{listener.getsockname()[1] + 2**16}").start()


def listener_below(end: int) -> socket.socket:
    """Return a socket that listens at a free port below ``end``."""
    for port in range(end - 1, 1024, -1):
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    raise AssertionError("no port is free")
